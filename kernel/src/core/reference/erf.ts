/** @file Error function to float64 accuracy. */

const SERIES_LIMIT = 3;
const TERMS = 120;

/**
 * erf(x), absolute error below 1e-15. |x| < 3: the Maclaurin series of erf with e^(-x²) taken out, all terms positive
 * (Abramowitz & Stegun 7.1.6); else 1 - erfc by Lentz' continued fraction (7.1.14).
 */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const magnitude = Math.abs(x);
  const value = magnitude < SERIES_LIMIT ? series(magnitude) : 1 - complement(magnitude);
  return x < 0 ? -value : value;
}

// erf(x) = 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1))
function series(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < TERMS && term > sum * Number.EPSILON; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

// erfc(x) = e^(-x²)/√π · 1/(x + ½/(x + 1/(x + 3/2/(x + …)))), evaluated from the inside
function complement(x: number): number {
  if (x > 27) return 0;
  let tail = x;
  for (let n = TERMS; n >= 1; n--) tail = x + n / 2 / tail;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / tail;
}
