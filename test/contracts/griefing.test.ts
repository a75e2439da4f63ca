/**
 * @file Tokens that take a fee, refuse, lie or call back, and payees who would rather spoil a batch than be paid: nobody
 * loses what is theirs, and nobody is kept from being paid by somebody else.
 */
import type { BaseWallet } from 'ethers';
import { DAY_S, Escrow, GRACE_S, refusal } from './lib/escrow.js';
import type { Deployed } from './lib/stage.js';
import { Stage } from './lib/stage.js';

/** Selector of ReentrancyGuardReentrantCall(). */
const REENTRANT = '0x3ee5aeb5';

let stage: Stage;
let ann: BaseWallet;
let bob: BaseWallet;
let payer: string;

beforeAll(async () => {
  stage = await Stage.start();
});

afterAll(async () => {
  await stage.stop();
});

async function escrowFor(tokenName: string): Promise<Escrow> {
  const escrow = await Escrow.deploy(stage, await stage.deploy(`testing/${tokenName}`));
  ({ ann, bob, payer } = escrow.cast);
  return escrow;
}

/** The escrow holds what its jobs say, to the unit. */
async function expectCovered(escrow: Escrow, ...jobs: readonly string[]): Promise<void> {
  let owed = 0n;
  for (const id of jobs) {
    const { free, reserved } = await escrow.job(id);
    owed += free + reserved;
  }
  expect(await escrow.balance(escrow.contract.address)).toBe(owed);
}

const eventNames = (escrow: Escrow, receipt: Parameters<Deployed['events']>[0]) =>
  escrow.contract.events(receipt).map(({ name }) => name);

describe('tokens that are not what they seem', () => {
  test('feeOnTransfer_isSeen_soThatOnlyWhatArrivedIsOwed', async () => {
    const escrow = await escrowFor('FeeToken');
    const { id, expiry } = await escrow.open({ amount: 1_000n });
    expect(await escrow.job(id)).toMatchObject({ free: 990n });
    expect(await refusal(escrow.reserve(id, { [ann.address]: 991n }))).toBe('InsufficientFree');
    await escrow.fund(payer, 100n);
    await escrow.call('topUp', [id, 100n, expiry], { from: payer });
    expect(await escrow.job(id)).toMatchObject({ free: 1_089n });
    await escrow.reserve(id, { [ann.address]: 600n });
    await escrow.redeem(id, [escrow.voucher(id, ann.address, 600n)]);
    // The fee of a payout is the payee's: the lane counts what left the escrow.
    expect(await escrow.balance(ann.address)).toBe(594n);
    expect(await escrow.lane(id, ann.address)).toMatchObject({ paid: 600n });
    await expectCovered(escrow, id);
    expect(await escrow.refund(id)).toBe(489n - 4n);
    await expectCovered(escrow, id);
  });

  test('withoutDecimalsAndReturnValues_worksLikeAnyOther', async () => {
    const escrow = await escrowFor('BareToken');
    const { id, expiry } = await escrow.openWithLanes({ [ann.address]: 400n });
    await escrow.redeem(id, [escrow.voucher(id, ann.address, 150n)]);
    expect(await escrow.balance(ann.address)).toBe(150n);
    await stage.setTime(expiry + GRACE_S + 1);
    expect(await escrow.refund(id)).toBe(850n);
    await expectCovered(escrow, id);
  });

  test('returningFalse_isARefusal_onDepositPayoutAndRefund', async () => {
    const escrow = await escrowFor('FalseToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n });
    await escrow.token.send('setRefusing', [true]);
    expect(await refusal(escrow.open())).toBe('SafeERC20FailedOperation');
    const voucher = escrow.voucher(id, ann.address, 400n);
    expect(await refusal(escrow.redeem(id, [voucher]))).toBe('TransferFailed');
    expect(await refusal(escrow.refund(id))).toBe('SafeERC20FailedOperation');
    expect(await escrow.job(id)).toMatchObject({ free: 600n, reserved: 400n });
    await escrow.token.send('setRefusing', [false]);
    await escrow.redeem(id, [voucher]);
    expect(await escrow.balance(ann.address)).toBe(400n);
    await expectCovered(escrow, id);
  });

  test('giftsToTheEscrow_changeNoJob', async () => {
    const escrow = await escrowFor('BareToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n });
    await escrow.token.send('mint', [escrow.contract.address, 77n]);
    expect(await escrow.job(id)).toMatchObject({ free: 600n, reserved: 400n });
    expect(await escrow.refund(id)).toBe(600n);
    expect(await escrow.balance(escrow.contract.address)).toBe(477n);
  });
});

describe('a batch with one entry that cannot be paid', () => {
  test.each(['settle', 'redeem'] as const)(
    '%s_skipsABlacklistedPayee_andPaysTheRest',
    async (method) => {
      const escrow = await escrowFor('BlacklistToken');
      const lanes = { [ann.address]: 400n, [bob.address]: 400n };
      const { id } = await escrow.openWithLanes(lanes);
      await escrow.token.send('setListed', [ann.address, true]);
      const receipt =
        method === 'settle'
          ? await escrow.settle(id, { [ann.address]: 300n, [bob.address]: 200n })
          : await escrow.redeem(id, [
              escrow.voucher(id, ann.address, 300n),
              escrow.voucher(id, bob.address, 200n),
            ]);
      expect(escrow.contract.events(receipt)).toMatchObject([
        {
          name: 'Skipped',
          args: {
            payee: ann.address,
            cumulative: 300n,
            reason: escrow.contract.iface.getError('TransferFailed')!.selector,
          },
        },
        { name: 'Paid', args: { payee: bob.address, delta: 200n } },
      ]);
      expect(await escrow.lane(id, ann.address)).toMatchObject({ paid: 0n });
      expect(await escrow.job(id)).toMatchObject({ reserved: 600n });
      // Her voucher keeps its worth for the day she is taken off the list.
      await escrow.token.send('setListed', [ann.address, false]);
      await escrow.redeem(id, [escrow.voucher(id, ann.address, 300n)]);
      expect(await escrow.balance(ann.address)).toBe(300n);
      await expectCovered(escrow, id);
    },
  );

  test('settle_skipsAPayeeWhoReleasedJustBefore', async () => {
    const escrow = await escrowFor('BareToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n, [bob.address]: 400n });
    await escrow.release(id, ann, 100n);
    const receipt = await escrow.settle(id, { [ann.address]: 300n, [bob.address]: 300n });
    expect(escrow.contract.events(receipt)).toMatchObject([
      {
        name: 'Skipped',
        args: {
          payee: ann.address,
          reason: escrow.contract.iface.getError('OverCap')!.selector,
        },
      },
      { name: 'Paid', args: { payee: bob.address, delta: 300n } },
    ]);
    await expectCovered(escrow, id);
  });

  test('redeem_skipsAPayeeWhoWasFasterAlone', async () => {
    const escrow = await escrowFor('BareToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n, [bob.address]: 400n });
    const vouchers = [escrow.voucher(id, ann.address, 300n), escrow.voucher(id, bob.address, 300n)];
    await escrow.redeem(id, [vouchers[0]!]);
    expect(eventNames(escrow, await escrow.redeem(id, vouchers))).toEqual(['Skipped', 'Paid']);
    expect(await escrow.balance(ann.address)).toBe(300n);
  });

  test('redeem_failsWholeIfASignatureIsForged_beforeAnybodyIsPaid', async () => {
    const escrow = await escrowFor('BareToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n, [bob.address]: 400n });
    const vouchers = [
      escrow.voucher(id, ann.address, 300n),
      escrow.voucher(id, bob.address, 300n, escrow.cast.eve),
    ];
    expect(await refusal(escrow.redeem(id, vouchers))).toBe('BadSig');
    expect(await escrow.balance(ann.address)).toBe(0n);
  });

  test('revertDataOfAMegabyte_isNotCopied', async () => {
    const escrow = await escrowFor('ReturnBombToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n, [bob.address]: 400n });
    await escrow.token.send('setVictim', [ann.address]);
    const receipt = await escrow.settle(id, { [ann.address]: 100n, [bob.address]: 100n });
    expect(eventNames(escrow, receipt)).toEqual(['Skipped', 'Paid']);
    // Making a megabyte costs the token 2.2 million gas; copying it would cost the escrow as much again.
    expect(receipt.gasUsed).toBeLessThan(2_600_000);
  });

  test('payeeWhoBurnsAllGas_harmsOnlyItself_onceItIsLeftOut', async () => {
    const escrow = await escrowFor('HookToken');
    const burner = await stage.deploy('testing/GasBurningPayee');
    await burner.send('arm', [escrow.token.address]);
    const { id } = await escrow.openWithLanes({ [burner.address]: 400n, [bob.address]: 400n });
    const both = { [burner.address]: 100n, [bob.address]: 100n };
    expect(await refusal(escrow.settle(id, both, { from: payer, gas: 300_000 }))).toBe(
      '(no reason)',
    );
    expect(await escrow.balance(bob.address)).toBe(0n);
    await escrow.settle(id, { [bob.address]: 100n }, { from: payer, gas: 300_000 });
    expect(await escrow.balance(bob.address)).toBe(100n);
    await expectCovered(escrow, id);
  });

  test('callerWhoGivesTooLittleGas_changesNothing', async () => {
    const escrow = await escrowFor('BareToken');
    const { id } = await escrow.openWithLanes({ [ann.address]: 400n });
    const voucher = escrow.voucher(id, ann.address, 400n);
    for (let gas = 40_000; gas <= 110_000; gas += 2_000) {
      const reason = await refusal(escrow.redeem(id, [voucher], { gas }));
      if (reason === 'it was not refused') break;
      expect(await escrow.lane(id, ann.address)).toMatchObject({ paid: 0n });
      expect(await escrow.job(id)).toMatchObject({ reserved: 400n });
    }
    expect(await escrow.balance(ann.address)).toBe(400n);
  });
});

describe('calling back in the middle of a transfer', () => {
  test.each(['redeem', 'settle', 'refund', 'release', 'reserve', 'topUp', 'open'])(
    'payee_cannotEnter_%s_whileItIsPaid',
    async (method) => {
      const escrow = await escrowFor('HookToken');
      const payee = await stage.deploy('testing/ReentrantPayee');
      const { id, expiry } = await escrow.openWithLanes({ [payee.address]: 400n });
      const voucher = escrow.voucher(id, payee.address, 100n);
      const next = escrow.voucher(id, payee.address, 200n);
      const token = escrow.token.address;
      const calls: Readonly<Record<string, readonly unknown[]>> = {
        redeem: escrow.redeemArguments(id, [next]),
        settle: [id, [payee.address], [200n], id],
        refund: [id],
        release: [id, payee.address, 0n, '0x'],
        reserve: [id, [payee.address], [1n]],
        topUp: [id, 0n, expiry],
        open: [id, token, payer, 0n, expiry],
      };
      const payload = escrow.contract.iface.encodeFunctionData(method, calls[method]);
      await payee.send('arm', [token, escrow.contract.address, payload]);
      await escrow.redeem(id, [voucher]);
      expect(await payee.view('attempts')).toBe(1n);
      expect(await payee.view('refusal')).toBe(REENTRANT);
      expect(await escrow.balance(payee.address)).toBe(100n);
      await escrow.redeem(id, [next]);
      expect(await escrow.balance(payee.address)).toBe(200n);
      await expectCovered(escrow, id);
    },
  );

  test('token_cannotBeCreditedTwiceForOneDeposit', async () => {
    const escrow = await escrowFor('ReentrantToken');
    const { token, contract } = escrow;
    // The token itself is the payer of a second job, so that only the guard stands in its way.
    await token.send('mint', [token.address, 500n]);
    await token.send('approveFor', [contract.address, 500n]);
    const expiry = (await stage.now()) + DAY_S;
    const salt = escrow.nextSalt();
    const payload = contract.iface.encodeFunctionData('open', [
      salt,
      token.address,
      payer,
      500n,
      expiry,
    ]);
    await escrow.fund(payer, 300n);
    await token.send('arm', [contract.address, payload]);
    const args = [escrow.nextSalt(), token.address, payer, 300n, expiry];
    await escrow.call('open', args, { from: payer });
    expect(await token.view('hasEntered')).toBe(true);
    expect(await token.view('refusal')).toBe(REENTRANT);
    const id = (await contract.view('jobId', [payer, args[0]])) as string;
    expect(await escrow.job(id)).toMatchObject({ free: 300n });
    await expectCovered(escrow, id);
  });

  test('token_cannotPayItselfTwice_onPayoutOrRefund', async () => {
    const escrow = await escrowFor('ReentrantToken');
    const { token, contract } = escrow;
    const job = await escrow.openWithLanes({ [ann.address]: 400n });
    const voucher = escrow.voucher(job.id, ann.address, 400n);
    const again = contract.iface.encodeFunctionData(
      'redeem',
      escrow.redeemArguments(job.id, [voucher]),
    );
    await token.send('arm', [contract.address, again]);
    await escrow.redeem(job.id, [voucher]);
    expect(await token.view('refusal')).toBe(REENTRANT);
    expect(await escrow.balance(ann.address)).toBe(400n);

    const refund = contract.iface.encodeFunctionData('refund', [job.id]);
    await token.send('arm', [contract.address, refund]);
    expect(await escrow.refund(job.id)).toBe(600n);
    expect(await token.view('refusal')).toBe(REENTRANT);
    await expectCovered(escrow, job.id);
  });

  test('jobsOfOneToken_cannotSpendEachOthersDeposit', async () => {
    const escrow = await escrowFor('BareToken');
    const rich = await escrow.openWithLanes({ [bob.address]: 1_000n });
    const poor = await escrow.openWithLanes({ [ann.address]: 10n }, { amount: 10n });
    const greedy = escrow.voucher(poor.id, ann.address, 1_000n);
    expect(await refusal(escrow.redeem(poor.id, [greedy]))).toBe('OverCap');
    expect(await escrow.refund(poor.id)).toBe(0n);
    await escrow.redeem(rich.id, [escrow.voucher(rich.id, bob.address, 1_000n)]);
    await escrow.redeem(poor.id, [escrow.voucher(poor.id, ann.address, 10n)]);
    expect(await escrow.balance(escrow.contract.address)).toBe(0n);
  });
});
