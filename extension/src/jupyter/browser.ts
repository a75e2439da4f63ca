/** @file What is asked of the browser: its clipboard, a file for the user to keep. */

/** False when the browser refuses, or has no clipboard outside a secure context: the user copies by hand. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Gives the user a file, as a download. */
export function saveFile(name: string, parts: readonly string[], mimeType: string): void {
  const url = URL.createObjectURL(new Blob([...parts], { type: mimeType }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The download has begun when the click returns, but not every browser has read the blob by then.
  window.setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
