/** @file Payouts on two chains: vouchers, settling and releases, and every way to forge, replay, redirect or delay one. */
import { Wallet, ZeroHash } from 'ethers';
import type { BaseWallet } from 'ethers';
import type { SignedVoucher } from './lib/escrow.js';
import { Escrow, GRACE_S, refusal } from './lib/escrow.js';
import { Deployed, Stage } from './lib/stage.js';
import type { Scene } from './lib/twoChains.js';
import { onTwoChains } from './lib/twoChains.js';

/** Order of secp256k1. */
const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const UINT112_MAX = 2n ** 112n - 1n;

onTwoChains((scene) => {
  let escrow: Escrow;
  let other: Escrow;
  let ann: BaseWallet;
  let bob: BaseWallet;
  let eve: BaseWallet;
  let payer: string;
  let relayer: string;
  let annsJob: Scene['annsJob'];

  beforeAll(() => {
    ({ escrow, other, ann, bob, eve, payer, relayer, annsJob } = scene());
  });

  const pass = (seconds: number) => escrow.stage.setTime(seconds);
  const altered = (voucher: SignedVoucher, change: Partial<SignedVoucher>): SignedVoucher => ({
    ...voucher,
    ...change,
  });

  describe('redeem', () => {
    test('redeem_paysThePayee_andNobodyElse', async () => {
      const { id } = await annsJob();
      const [ours, others] = [await escrow.balance(ann.address), await escrow.balance(relayer)];
      const voucher = escrow.voucher(id, ann.address, 120n);
      const receipt = await escrow.redeem(id, [voucher], { from: relayer });
      expect((await escrow.balance(ann.address)) - ours).toBe(120n);
      expect((await escrow.balance(relayer)) - others).toBe(0n);
      expect(await escrow.lane(id, ann.address)).toEqual({ cap: 500n, paid: 120n, nonce: 1n });
      expect(await escrow.job(id)).toMatchObject({ free: 500n, reserved: 380n });
      expect(escrow.contract.events(receipt)).toEqual([
        {
          name: 'Paid',
          args: {
            id,
            payee: ann.address,
            cumulative: 120n,
            delta: 120n,
            ledgerHead: voucher.ledgerHead,
          },
        },
      ]);
    });

    test('redeem_paysOnlyWhatANewerVoucherAdds', async () => {
      const { id } = await annsJob();
      const before = await escrow.balance(ann.address);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 120n)]);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 500n, undefined, 2n)]);
      expect((await escrow.balance(ann.address)) - before).toBe(500n);
    });

    test('redeem_helpsAPayeeWithoutEther', async () => {
      const poor = Wallet.createRandom();
      const { id } = await escrow.openWithLanes({ [poor.address]: 70n });
      await escrow.redeem(id, [escrow.voucher(id, poor.address, 70n)], { from: relayer });
      expect(await escrow.balance(poor.address)).toBe(70n);
      expect(await escrow.stage.etherOf(poor.address)).toBe(0n);
    });

    test('redeem_failsIfVoucherWasUsed', async () => {
      const { id } = await annsJob();
      const voucher = escrow.voucher(id, ann.address, 120n);
      await escrow.redeem(id, [voucher]);
      expect(await refusal(escrow.redeem(id, [voucher]))).toBe('Stale');
    });

    test('redeem_failsIfVoucherIsOlderThanWhatWasPaid', async () => {
      const { id } = await annsJob();
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 120n, undefined, 2n)]);
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, ann.address, 119n)]))).toBe(
        'Stale',
      );
    });

    test('redeem_failsIfVoucherIsForNothing', async () => {
      const { id } = await annsJob();
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, ann.address, 0n)]))).toBe('Stale');
    });

    test('redeem_failsIfVoucherIsTwiceInOneBatch_afterTheFirst', async () => {
      const { id } = await annsJob();
      const before = await escrow.balance(ann.address);
      const voucher = escrow.voucher(id, ann.address, 120n);
      const receipt = await escrow.redeem(id, [voucher, voucher]);
      expect((await escrow.balance(ann.address)) - before).toBe(120n);
      expect(escrow.contract.events(receipt).map(({ name }) => name)).toEqual(['Paid', 'Skipped']);
    });

    test.each([
      ['Amount', { cumulative: 121n }],
      ['Seq', { seq: 2n }],
      ['LedgerHead', { ledgerHead: ZeroHash }],
    ])('redeem_failsIf%sWasAltered', async (_field, change) => {
      const { id } = await annsJob();
      const voucher = altered(escrow.voucher(id, ann.address, 120n), change);
      expect(await refusal(escrow.redeem(id, [voucher]))).toBe('BadSig');
    });

    test('redeem_failsIfPayeeWasRedirected', async () => {
      const { id } = await escrow.openWithLanes({ [ann.address]: 200n, [eve.address]: 200n });
      const voucher = escrow.voucher(id, ann.address, 120n);
      expect(await refusal(escrow.redeem(id, [altered(voucher, { payee: eve.address })]))).toBe(
        'BadSig',
      );
    });

    test('redeem_failsIfVoucherIsOfAnotherJob', async () => {
      const [mine, other] = [await annsJob(), await annsJob()];
      const voucher = escrow.voucher(other.id, ann.address, 120n);
      expect(await refusal(escrow.redeem(mine.id, [voucher]))).toBe('BadSig');
    });

    test('redeem_failsIfSignedByAnyoneButTheSigner', async () => {
      const { id } = await annsJob();
      const payerWallet = escrow.stage.wallets[1]!;
      for (const wallet of [ann, eve, payerWallet]) {
        const voucher = escrow.voucher(id, ann.address, 120n, wallet);
        expect(await refusal(escrow.redeem(id, [voucher]))).toBe('BadSig');
      }
    });

    test('redeem_failsIfSignatureIsMalleated', async () => {
      const { id } = await annsJob();
      const voucher = escrow.voucher(id, ann.address, 120n);
      const vs = BigInt(voucher.vs);
      const parity = vs >> 255n;
      const s = vs & (2n ** 255n - 1n);
      const flipped = ((parity ^ 1n) << 255n) | ((CURVE_ORDER - s) & (2n ** 255n - 1n));
      const forms = [flipped, vs ^ (1n << 255n), (parity << 255n) | (2n ** 255n - 1n)];
      for (const form of forms) {
        const twin = altered(voucher, { vs: `0x${form.toString(16).padStart(64, '0')}` });
        expect(await refusal(escrow.redeem(id, [twin]))).toBe('BadSig');
      }
    });

    test('redeem_failsIfSignatureRecoversNobody', async () => {
      const { id } = await annsJob();
      const voucher = altered(escrow.voucher(id, ann.address, 120n), { r: ZeroHash, vs: ZeroHash });
      expect(await refusal(escrow.redeem(id, [voucher]))).toBe('BadSig');
    });

    test('redeem_failsIfSignedForTheOtherChain', async () => {
      const { id } = await annsJob();
      const foreign = other.voucher(id, ann.address, 120n);
      expect(await refusal(escrow.redeem(id, [foreign]))).toBe('BadSig');
      expect(other.contract.address).toBe(escrow.contract.address);
    });

    test('redeem_failsIfSignedForAnotherEscrowOfThisChain', async () => {
      const { id } = await annsJob();
      const twin = await Escrow.deploy(escrow.stage, escrow.token);
      const foreign = twin.voucher(id, ann.address, 120n);
      expect(await refusal(escrow.redeem(id, [foreign]))).toBe('BadSig');
    });

    test('redeem_failsIfASignedReleaseIsPassedOffAsAVoucher', async () => {
      const { id } = await annsJob();
      const { signer } = escrow.cast;
      const release = escrow.signRelease(id, ann.address, 120n, 1n, signer);
      const voucher = altered(escrow.voucher(id, ann.address, 120n), escrow.compact(release));
      expect(await refusal(escrow.redeem(id, [voucher]))).toBe('BadSig');
    });

    test('redeem_failsIfOverCap_andPaysNoPart', async () => {
      const { id } = await annsJob(500n);
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, ann.address, 501n)]))).toBe(
        'OverCap',
      );
      expect(await escrow.lane(id, ann.address)).toMatchObject({ paid: 0n });
      // The voucher is not burnt: it counts as soon as the lane covers it.
      await escrow.reserve(id, { [ann.address]: 1n });
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 501n)]);
    });

    test('redeem_failsIfAmountDoesNotFitALane', async () => {
      const { id } = await annsJob(500n);
      for (const amount of [UINT112_MAX + 1n, UINT112_MAX + 2n, 2n ** 128n - 1n]) {
        const voucher = escrow.voucher(id, ann.address, amount);
        expect(await refusal(escrow.redeem(id, [voucher]))).toBe('OverCap');
      }
    });

    test('redeem_failsIfPayeeHasNoLane', async () => {
      const { id } = await annsJob();
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, eve.address, 1n)]))).toBe(
        'OverCap',
      );
    });

    test('redeem_failsIfJobIsUnknown_orBatchIsEmpty', async () => {
      const { id } = await annsJob();
      const voucher = escrow.voucher(ZeroHash, ann.address, 1n);
      expect(await refusal(escrow.redeem(ZeroHash, [voucher]))).toBe('NoSuchJob');
      expect(await refusal(escrow.redeem(id, []))).toBe('EmptyBatch');
    });

    test('redeem_worksToTheLastSecondOfGrace_andFailsAfterIt', async () => {
      const { id, expiry } = await annsJob();
      await pass(expiry + 1);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 100n)]);
      await pass(expiry + GRACE_S);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 200n)]);
      await pass(expiry + GRACE_S + 1);
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, ann.address, 300n)]))).toBe(
        'Closed',
      );
    });

    test('redeem_worksThoughTheSignerWasGivenCodeThatDenies', async () => {
      const { stage } = escrow;
      const turncoat = Wallet.createRandom();
      const { id } = await escrow.openWithLanes(
        { [ann.address]: 500n },
        { signer: turncoat.address },
      );
      const voucher = escrow.voucher(id, ann.address, 500n, turncoat);
      const denying = await stage.deploy('testing/DenyingCode');
      await stage.delegate(turncoat, denying);
      const account = new Deployed(stage, turncoat.address, denying.iface);
      expect(await account.view('isValidSignature', [ZeroHash, '0x'])).toBe('0xffffffff');
      const before = await escrow.balance(ann.address);
      await escrow.redeem(id, [voucher]);
      expect((await escrow.balance(ann.address)) - before).toBe(500n);
    });
  });

  describe('settle', () => {
    test('settle_paysWithoutSignatures_andMakesVouchersStale', async () => {
      const { id } = await escrow.openWithLanes({ [ann.address]: 300n, [bob.address]: 300n });
      const before = [await escrow.balance(ann.address), await escrow.balance(bob.address)];
      await escrow.settle(id, { [ann.address]: 100n, [bob.address]: 300n });
      expect((await escrow.balance(ann.address)) - before[0]!).toBe(100n);
      expect((await escrow.balance(bob.address)) - before[1]!).toBe(300n);
      expect(await refusal(escrow.redeem(id, [escrow.voucher(id, ann.address, 100n)]))).toBe(
        'Stale',
      );
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 101n)]);
    });

    test('settle_failsIfNotPayer_evenForTheSigner', async () => {
      const { id } = await annsJob();
      for (const from of [eve.address, escrow.cast.signer.address]) {
        expect(await refusal(escrow.settle(id, { [ann.address]: 1n }, { from }))).toBe('NotPayer');
      }
    });

    test('settle_failsIfListsDiffer_orAreEmpty', async () => {
      const { id } = await annsJob();
      const call = (...args: unknown[]) =>
        escrow.call('settle', [id, ...args, ZeroHash], { from: payer });
      expect(await refusal(call([ann.address], []))).toBe('LengthMismatch');
      expect(await refusal(call([], []))).toBe('EmptyBatch');
    });

    test('settle_failsIfOverCap_orStale_whenNobodyIsPaid', async () => {
      const { id } = await annsJob(500n);
      expect(await refusal(escrow.settle(id, { [ann.address]: 501n }))).toBe('OverCap');
      await escrow.settle(id, { [ann.address]: 500n });
      expect(await refusal(escrow.settle(id, { [ann.address]: 500n }))).toBe('Stale');
    });

    test('settle_failsAfterGrace', async () => {
      const { id, expiry } = await annsJob();
      await pass(expiry + GRACE_S + 1);
      expect(await refusal(escrow.settle(id, { [ann.address]: 1n }))).toBe('Closed');
    });
  });

  describe('release', () => {
    test('release_freesWhatThePayeeGivesUp', async () => {
      const { id } = await annsJob(500n);
      const receipt = await escrow.release(id, ann, 200n);
      expect(await escrow.lane(id, ann.address)).toEqual({ cap: 200n, paid: 0n, nonce: 2n });
      expect(await escrow.job(id)).toMatchObject({ free: 800n, reserved: 200n });
      expect(escrow.contract.events(receipt)).toEqual([
        { name: 'Released', args: { id, payee: ann.address, cap: 200n, freed: 300n, nonce: 2n } },
      ]);
    });

    test('release_failsIfNonceUsed', async () => {
      const { id } = await annsJob(500n);
      const signature = escrow.signRelease(id, ann.address, 200n, 1n, ann);
      const release = () => escrow.call('release', [id, ann.address, 200n, signature]);
      await release();
      // The payer covers more work again, and would uncover it with the old paper.
      await escrow.reserve(id, { [ann.address]: 600n });
      expect(await refusal(release())).toBe('BadSig');
    });

    test('release_failsIfKeptBackUntilTheCapWasRaised', async () => {
      const { id } = await annsJob(100n);
      const signature = escrow.signRelease(id, ann.address, 0n, 1n, ann);
      await escrow.reserve(id, { [ann.address]: 800n });
      const voucher = escrow.voucher(id, ann.address, 900n);
      const call = escrow.call('release', [id, ann.address, 0n, signature], { from: payer });
      expect(await refusal(call)).toBe('BadSig');
      await escrow.redeem(id, [voucher]);
    });

    test('release_failsIfNotSignedByThePayee', async () => {
      const { id } = await annsJob();
      for (const wallet of [eve, escrow.cast.signer, escrow.stage.wallets[1]!]) {
        const signature = escrow.signRelease(id, ann.address, 0n, 1n, wallet);
        expect(await refusal(escrow.call('release', [id, ann.address, 0n, signature]))).toBe(
          'BadSig',
        );
      }
    });

    test('release_failsIfAltered_orOfAnotherJobOrChain', async () => {
      const [{ id }, sibling] = [await annsJob(), await annsJob()];
      const signatures = [
        escrow.signRelease(id, ann.address, 101n, 1n, ann),
        escrow.signRelease(sibling.id, ann.address, 100n, 1n, ann),
        other.signRelease(id, ann.address, 100n, 1n, ann),
        '0x',
        `0x${'00'.repeat(65)}`,
      ];
      for (const signature of signatures) {
        const call = escrow.call('release', [id, ann.address, 100n, signature]);
        expect(await refusal(call)).toBe('BadSig');
      }
    });

    test('release_failsIfItWouldRaiseTheCap_orTakeWhatWasPaid', async () => {
      const { id } = await annsJob(500n);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 100n)]);
      expect(await refusal(escrow.release(id, ann, 501n))).toBe('BadRelease');
      expect(await refusal(escrow.release(id, ann, 500n))).toBe('BadRelease');
      expect(await refusal(escrow.release(id, ann, 99n))).toBe('BadRelease');
      await escrow.release(id, ann, 100n);
    });

    test('release_worksForAContractWallet_unlessItRefuses', async () => {
      const wallet = await escrow.stage.deploy('testing/ContractWallet', [ann.address]);
      const { id } = await escrow.openWithLanes({ [wallet.address]: 500n });
      const release = (cap: bigint, nonce: bigint) =>
        escrow.call('release', [
          id,
          wallet.address,
          cap,
          escrow.signRelease(id, wallet.address, cap, nonce, ann),
        ]);
      await release(300n, 1n);
      await wallet.send('setRefusing', [true]);
      expect(await refusal(release(200n, 2n))).toBe('BadSig');
      expect(await escrow.lane(id, wallet.address)).toMatchObject({ cap: 300n });
    });

    test('release_failsAfterGrace', async () => {
      const { id, expiry } = await annsJob();
      await pass(expiry + GRACE_S + 1);
      expect(await refusal(escrow.release(id, ann, 0n))).toBe('Closed');
    });
  });
});

test('chainIdChange_makesOldVouchersWorthless', async () => {
  const stage = await Stage.start(31_339);
  try {
    const escrow = await Escrow.deploy(stage);
    const { ann } = escrow.cast;
    const { id } = await escrow.openWithLanes({ [ann.address]: 500n });
    const voucher = escrow.voucher(id, ann.address, 100n);
    // A fork of the chain takes the contract, its jobs and its lanes along, but not what was signed before.
    const redeem = () => escrow.contract.view('redeem', escrow.redeemArguments(id, [voucher]));
    await stage.rpc.call('anvil_setChainId', [31_340]);
    expect(await refusal(redeem())).toBe('BadSig');
    await stage.rpc.call('anvil_setChainId', [31_339]);
    await redeem();
  } finally {
    await stage.stop();
  }
});
