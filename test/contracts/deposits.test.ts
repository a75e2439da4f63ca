/** @file Deposits on two chains: opening, topping up, reserving and refunding, and every way to do it wrong. */
import { ZeroAddress, ZeroHash } from 'ethers';
import type { BaseWallet } from 'ethers';
import { isCodeOf, readArtifact } from '../../contracts/src/artifact.js';
import type { Escrow } from './lib/escrow.js';
import { DAY_S, GRACE_S, refusal } from './lib/escrow.js';
import type { Scene } from './lib/twoChains.js';
import { onTwoChains } from './lib/twoChains.js';

const UINT112_MAX = 2n ** 112n - 1n;

onTwoChains((scene) => {
  let escrow: Escrow;
  let ann: BaseWallet;
  let bob: BaseWallet;
  let eve: BaseWallet;
  let payer: string;
  let relayer: string;
  let annsJob: Scene['annsJob'];

  beforeAll(() => {
    ({ escrow, ann, bob, eve, payer, relayer, annsJob } = scene());
  });

  const pass = (seconds: number) => escrow.stage.setTime(seconds);

  test('escrow_isTheCommittedCode_atTheSameAddressOnBothChains', async () => {
    const { other } = scene();
    expect(other.contract.address).toBe(escrow.contract.address);
    const artifact = readArtifact('LaneEscrow');
    const code = await escrow.stage.codeAt(escrow.contract.address);
    expect(isCodeOf(artifact, code)).toBe(true);
    expect(isCodeOf(artifact, await escrow.stage.codeAt(escrow.token.address))).toBe(false);
    // One flipped digit outside what the constructor writes.
    const flipped = `${code.slice(0, 300)}${code[300] === '0' ? '1' : '0'}${code.slice(301)}`;
    expect(isCodeOf(artifact, flipped)).toBe(false);
  });

  describe('open', () => {
    test('open_takesTheDeposit_andTellsEverything', async () => {
      const before = await escrow.balance(escrow.contract.address);
      const expiry = (await escrow.stage.now()) + DAY_S;
      const salt = escrow.nextSalt();
      await escrow.fund(payer, 750n);
      const receipt = await escrow.call(
        'open',
        [salt, escrow.token.address, escrow.cast.signer.address, 750n, expiry],
        { from: payer },
      );
      const id = (await escrow.contract.view('jobId', [payer, salt])) as string;
      expect(await escrow.job(id)).toEqual({
        payer,
        expiry: BigInt(expiry),
        signer: escrow.cast.signer.address,
        token: escrow.token.address,
        free: 750n,
        reserved: 0n,
      });
      expect((await escrow.balance(escrow.contract.address)) - before).toBe(750n);
      expect(escrow.contract.events(receipt)).toEqual([
        {
          name: 'Opened',
          args: {
            id,
            payer,
            token: escrow.token.address,
            signer: escrow.cast.signer.address,
            expiry: BigInt(expiry),
            credited: 750n,
          },
        },
      ]);
    });

    test('open_failsIfSaltWasUsed_butNotForAnotherPayer', async () => {
      const expiry = (await escrow.stage.now()) + DAY_S;
      const salt = escrow.nextSalt();
      const open = (from: string) =>
        escrow.call('open', [salt, escrow.token.address, eve.address, 0n, expiry], { from });
      await open(payer);
      expect(await refusal(open(payer))).toBe('JobExists');
      await open(relayer);
    });

    test('open_failsIfSignerIsZero', async () => {
      expect(await refusal(escrow.open({ signer: ZeroAddress }))).toBe('ZeroAddress');
    });

    test('open_failsIfExpiryIsNowOrTooFarAhead', async () => {
      const now = await escrow.stage.now();
      expect(await refusal(escrow.open({ expiry: now }))).toBe('BadExpiry');
      expect(await refusal(escrow.open({ expiry: now + 366 * DAY_S + 1 }))).toBe('BadExpiry');
      await escrow.open({ expiry: now + 1 });
      await escrow.open({ expiry: now + 366 * DAY_S });
    });

    test('open_failsIfExpiryIsInMilliseconds', async () => {
      expect(await refusal(escrow.open({ expiry: (await escrow.stage.now()) * 1000 }))).toBe(
        'BadExpiry',
      );
    });

    test('open_failsIfTheTokenIsNoContract', async () => {
      const expiry = (await escrow.stage.now()) + DAY_S;
      const args = [escrow.nextSalt(), eve.address, eve.address, 10n, expiry];
      expect(await refusal(escrow.call('open', args, { from: payer }))).toBe('(no reason)');
    });

    test('open_failsIfNotApproved', async () => {
      const expiry = (await escrow.stage.now()) + DAY_S;
      const args = [escrow.nextSalt(), escrow.token.address, eve.address, 10n, expiry];
      // Eve has no tokens, and approved nothing.
      expect(await refusal(escrow.call('open', args, { from: eve.address }))).toBe('0xfb8f41b2');
    });
  });

  describe('topUp', () => {
    test('topUp_addsToFree_andMovesTheExpiry', async () => {
      const { id, expiry } = await escrow.open({ amount: 100n });
      await escrow.fund(payer, 50n);
      await escrow.call('topUp', [id, 50n, expiry + 60], { from: payer });
      expect(await escrow.job(id)).toMatchObject({ free: 150n, expiry: BigInt(expiry + 60) });
      await escrow.call('topUp', [id, 0n, expiry + 60], { from: payer });
      expect(await escrow.job(id)).toMatchObject({ free: 150n, expiry: BigInt(expiry + 60) });
    });

    test('topUp_failsIfExpiryWouldShrink', async () => {
      const { id, expiry } = await escrow.open();
      expect(await refusal(escrow.call('topUp', [id, 0n, expiry - 1], { from: payer }))).toBe(
        'BadExpiry',
      );
    });

    test('topUp_failsIfNotPayer_soThatNobodyElseMovesTimers', async () => {
      const { id, expiry } = await escrow.open();
      const call = escrow.call('topUp', [id, 0n, expiry + 60], { from: eve.address });
      expect(await refusal(call)).toBe('NotPayer');
    });

    test('topUp_failsIfJobIsUnknown', async () => {
      const call = escrow.call('topUp', [ZeroHash, 0n, await escrow.stage.now()], { from: payer });
      expect(await refusal(call)).toBe('NoSuchJob');
    });
  });

  describe('reserve', () => {
    test('reserve_movesMoneyIntoLanes_andMovesTheirNonces', async () => {
      const { id } = await escrow.open({ amount: 1_000n });
      await escrow.reserve(id, { [ann.address]: 300n, [bob.address]: 200n });
      const receipt = await escrow.reserve(id, { [ann.address]: 100n });
      expect(await escrow.job(id)).toMatchObject({ free: 400n, reserved: 600n });
      expect(await escrow.lane(id, ann.address)).toEqual({ cap: 400n, paid: 0n, nonce: 2n });
      expect(await escrow.lane(id, bob.address)).toEqual({ cap: 200n, paid: 0n, nonce: 1n });
      expect(escrow.contract.events(receipt)).toEqual([
        { name: 'Reserved', args: { id, payee: ann.address, added: 100n, cap: 400n, nonce: 2n } },
      ]);
    });

    test('reserve_failsIfMoreThanFree_evenByOne', async () => {
      const { id } = await escrow.open({ amount: 1_000n });
      expect(await refusal(escrow.reserve(id, { [ann.address]: 600n, [bob.address]: 401n }))).toBe(
        'InsufficientFree',
      );
      expect(await escrow.lane(id, ann.address)).toMatchObject({ cap: 0n });
      await escrow.reserve(id, { [ann.address]: 600n, [bob.address]: 400n });
    });

    test('reserve_failsIfNotPayer_evenForTheSigner', async () => {
      const { id } = await escrow.open();
      for (const from of [eve.address, escrow.cast.signer.address, ann.address]) {
        expect(await refusal(escrow.reserve(id, { [ann.address]: 1n }, { from }))).toBe('NotPayer');
      }
    });

    test('reserve_failsIfCapWouldOverflow', async () => {
      const { id } = await escrow.open({ amount: UINT112_MAX });
      await escrow.reserve(id, { [ann.address]: UINT112_MAX });
      expect(await refusal(escrow.reserve(id, { [ann.address]: 1n }))).toBe(
        'SafeCastOverflowedUintDowncast',
      );
      expect(await refusal(escrow.reserve(id, { [bob.address]: 2n ** 128n - 1n }))).toBe(
        'SafeCastOverflowedUintDowncast',
      );
    });

    test('reserve_failsIfPayeeIsZeroOrTheEscrow', async () => {
      const { id } = await escrow.open();
      expect(await refusal(escrow.reserve(id, { [ZeroAddress]: 1n }))).toBe('ZeroAddress');
      expect(await refusal(escrow.reserve(id, { [escrow.contract.address]: 1n }))).toBe(
        'PayeeIsEscrow',
      );
    });

    test('reserve_failsIfListsDiffer_orAreEmpty', async () => {
      const { id } = await escrow.open();
      const call = (...args: unknown[]) => escrow.call('reserve', [id, ...args], { from: payer });
      expect(await refusal(call([ann.address], []))).toBe('LengthMismatch');
      expect(await refusal(call([], [1n]))).toBe('EmptyBatch');
    });

    test('reserve_failsAfterExpiry', async () => {
      const { id, expiry } = await escrow.open();
      await pass(expiry);
      await escrow.reserve(id, { [ann.address]: 1n });
      await pass(expiry + 1);
      expect(await refusal(escrow.reserve(id, { [ann.address]: 1n }))).toBe('Expired');
    });
  });

  describe('refund', () => {
    test('refund_givesFreeAtOnce_andNothingOfWhatIsReserved', async () => {
      const { id, expiry } = await annsJob(400n);
      expect(await escrow.refund(id)).toBe(600n);
      expect(await escrow.refund(id)).toBe(0n);
      await pass(expiry + GRACE_S);
      expect(await escrow.refund(id)).toBe(0n);
      expect(await escrow.job(id)).toMatchObject({ free: 0n, reserved: 400n });
    });

    test('refund_isExactAfterGrace_andZeroASecondTime', async () => {
      const { id, expiry } = await annsJob(400n);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 123n)]);
      await pass(expiry + GRACE_S + 1);
      expect(await escrow.refund(id)).toBe(1_000n - 123n);
      expect(await escrow.job(id)).toMatchObject({ free: 0n, reserved: 0n });
      expect(await escrow.refund(id)).toBe(0n);
    });

    test('refund_failsIfNotPayer', async () => {
      const { id } = await annsJob();
      for (const from of [eve.address, ann.address, escrow.cast.signer.address]) {
        expect(await refusal(escrow.call('refund', [id], { from }))).toBe('NotPayer');
      }
    });

    test('refundedJob_cannotBeRevived_soThatOldVouchersNeverEatNewLanes', async () => {
      const { id, expiry } = await annsJob(400n);
      await pass(expiry + GRACE_S + 1);
      await escrow.refund(id);
      const later = (await escrow.stage.now()) + DAY_S;
      await escrow.fund(payer, 400n);
      expect(await refusal(escrow.call('topUp', [id, 400n, later], { from: payer }))).toBe(
        'Closed',
      );
      expect(await refusal(escrow.reserve(id, { [bob.address]: 1n }))).toBe('Expired');
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, ann.address, 400n)]))).toBe(
        'Closed',
      );
    });
  });
});
