/** @file The join command after a click on Invite: shown to be read, copied by a button or by hand. */
import { closeIcon, copyIcon } from '@jupyterlab/ui-components';
import { useEffect, useRef } from 'react';
import { useServices, useStore } from './context.js';
import { IconButton } from './parts.js';

export function InvitationBox() {
  const { actions, trans } = useServices();
  const invitation = useStore(actions.invitation);
  const fieldRef = useRef<HTMLTextAreaElement>(null);
  const mustCopyByHand = invitation !== null && !invitation.isCopied;
  useEffect(() => {
    if (!mustCopyByHand) return;
    fieldRef.current?.focus();
    fieldRef.current?.select();
  }, [mustCopyByHand]);
  if (invitation === null) return null;
  const expiry =
    invitation.expiresAtMs === null
      ? ''
      : trans.__('Valid until %1.', new Date(invitation.expiresAtMs).toLocaleTimeString());
  return (
    <div className="rvn-invitation" role="group" aria-label={trans.__('Invitation')}>
      <div className="rvn-invitationHead" role="status">
        <b>
          {invitation.isCopied
            ? trans.__('Join command copied')
            : trans.__('Copy the join command by hand')}
        </b>
        <span>
          <IconButton
            icon={copyIcon}
            title={trans.__('Copy the join command')}
            onClick={() => void actions.copyInvitation()}
          />
          <IconButton
            icon={closeIcon}
            title={trans.__('Close the invitation')}
            onClick={() => actions.closeInvitation()}
          />
        </span>
      </div>
      <textarea
        ref={fieldRef}
        readOnly
        rows={3}
        spellCheck={false}
        aria-label={trans.__('Join command')}
        value={invitation.command}
        onFocus={(event) => event.currentTarget.select()}
      />
      <p>
        {trans.__(
          'Run it on the machine that joins. Whoever has it can join, so share it with care.',
        )}{' '}
        {expiry}
      </p>
    </div>
  );
}
