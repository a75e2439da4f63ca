// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/**
 * @title LaneEscrow
 * @notice Holds a payer's deposit for a job and pays contributors from it, each from a lane of its own.
 *
 * A payer opens a job with a deposit, and reserves part of it for a payee: that payee's lane. The job's signer
 * then signs cumulative vouchers off chain; the newest one replaces all before it. Anyone may present it, and the
 * payee alone is paid. What is reserved stays out of the payer's reach until `expiry + GRACE`.
 *
 * What holds after every call, for every job and token:
 *  - `paid <= cap` in every lane, and both only grow, but for a cap that its payee releases;
 *  - the sum of `cap - paid` over the lanes is `reserved`, until a refund after `expiry + GRACE` closes the job;
 *  - the escrow's balance of a token is at least the sum of `free + reserved` over its jobs.
 *
 * What it does not do: it judges signatures, caps and time, never whether the work was right. It has no owner, no
 * fee, no upgrade and no pause.
 *
 * Tokens: a fee on transfer is seen (what arrives is what counts). Tokens whose balances shrink by themselves, or
 * that take more from the sender than the amount sent, would make jobs of that same token share a loss; nobody
 * should work for them. Contributors therefore keep a list of tokens that they accept.
 */
contract LaneEscrow is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @notice A payer's deposit. `free` may be reserved or refunded; `reserved` belongs to the lanes.
    struct Job {
        address payer;
        uint64 expiry;
        address signer;
        IERC20 token;
        uint128 free;
        uint128 reserved;
    }

    /// @notice What one payee can be paid by one job. `nonce` counts the changes of `cap`. One storage slot.
    struct Lane {
        uint112 cap;
        uint112 paid;
        uint32 nonce;
    }

    /// @notice A voucher with its signature in the compact form of ERC-2098.
    struct Voucher {
        address payee;
        uint128 cumulative;
        uint64 seq;
        bytes32 ledgerHead;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice How long after `expiry` vouchers are still paid, and reserved funds still locked.
    uint256 public constant GRACE = 1 days;

    /// @notice How far ahead `expiry` may lie, so that a slip in its unit does not lock a deposit for good.
    uint256 public constant MAX_DURATION = 366 days;

    /// @notice Signed by a job's signer: `payee` has earned `cumulative` in all; `ledgerHead` is its log up to there.
    bytes32 public constant VOUCHER_TYPEHASH =
        keccak256("Voucher(bytes32 job,address payee,uint128 cumulative,uint64 seq,bytes32 ledgerHead)");

    /// @notice Signed by a payee: its lane may shrink to `cap`, if the lane is still at `nonce`.
    bytes32 public constant RELEASE_TYPEHASH =
        keccak256("Release(bytes32 job,address payee,uint128 cap,uint32 nonce)");

    /// @notice Jobs by id; an unknown id has payer 0.
    mapping(bytes32 id => Job) public jobs;

    /// @notice Lanes by job and payee.
    mapping(bytes32 id => mapping(address payee => Lane)) public lanes;

    event Opened(
        bytes32 indexed id,
        address indexed payer,
        address indexed token,
        address signer,
        uint64 expiry,
        uint256 credited
    );
    event Topped(bytes32 indexed id, uint256 credited, uint64 expiry);
    event Reserved(bytes32 indexed id, address indexed payee, uint256 added, uint256 cap, uint32 nonce);
    event Paid(
        bytes32 indexed id,
        address indexed payee,
        uint256 cumulative,
        uint256 delta,
        bytes32 ledgerHead
    );
    /// @notice An entry of a batch was left out; `reason` is the selector of the error it would have been alone.
    event Skipped(bytes32 indexed id, address indexed payee, uint256 cumulative, bytes4 reason);
    event Released(bytes32 indexed id, address indexed payee, uint256 cap, uint256 freed, uint32 nonce);
    event Refunded(bytes32 indexed id, uint256 free, uint256 reserved);

    /// @notice The id is taken: this payer used this salt before.
    error JobExists(bytes32 id);
    error NoSuchJob(bytes32 id);
    /// @notice Only the payer may do this.
    error NotPayer(bytes32 id, address payer, address caller);
    error ZeroAddress();
    /// @notice A lane to the escrow itself could be paid, but its money would never leave.
    error PayeeIsEscrow();
    error EmptyBatch();
    error LengthMismatch(uint256 payees, uint256 amounts);
    /// @notice `expiry` must lie after `earliest` and not after `latest` (seconds, block time).
    error BadExpiry(uint256 expiry, uint256 earliest, uint256 latest);
    /// @notice The job has expired: its lanes are still paid, but no more is reserved.
    error Expired(uint256 expiry, uint256 time);
    /// @notice `expiry + GRACE` has passed: the job takes no money and pays none.
    error Closed(uint256 closedAt, uint256 time);
    error InsufficientFree(uint256 free, uint256 needed);
    /// @notice The signature is not the job signer's (a voucher), or not the payee's for this nonce (a release).
    error BadSig(address payee);
    /// @notice As much or more has been paid already.
    error Stale(address payee, uint256 paid, uint256 cumulative);
    error OverCap(address payee, uint256 cap, uint256 cumulative);
    /// @notice A release must lower the cap, and not below what was paid.
    error BadRelease(address payee, uint256 paid, uint256 cap, uint256 asked);
    /// @notice The token refused to pay this payee.
    error TransferFailed(address payee, uint256 amount);

    constructor() EIP712("LaneEscrow", "1") {}

    /**
     * @notice Opens a job and deposits `amount`, which the caller has approved.
     * @param salt Chosen by the payer; one job each. The id is known before: see `jobId`.
     * @param signer The key whose vouchers count; it never changes. Its code is never asked, so that vouchers
     * cannot be revoked by changing it: see `redeem`.
     * @param expiry Block time in seconds, at most MAX_DURATION ahead.
     */
    function open(bytes32 salt, IERC20 token, address signer, uint256 amount, uint64 expiry)
        external
        nonReentrant
        returns (bytes32 id)
    {
        if (signer == address(0)) revert ZeroAddress();
        _checkExpiry(expiry, block.timestamp + 1);
        id = jobId(msg.sender, salt);
        Job storage job = jobs[id];
        if (job.payer != address(0)) revert JobExists(id);
        job.payer = msg.sender;
        job.expiry = expiry;
        job.signer = signer;
        job.token = token;
        uint128 credited = _deposit(token, amount);
        job.free = credited;
        emit Opened(id, msg.sender, address(token), signer, expiry, credited);
    }

    /**
     * @notice Adds to a job's deposit, moves its expiry, or both. Nothing may make the expiry earlier.
     * @param amount May be 0.
     * @param expiry The present one, or a later one.
     */
    function topUp(bytes32 id, uint256 amount, uint64 expiry) external nonReentrant {
        Job storage job = _jobOfPayer(id);
        // A closed job may have been refunded: reviving it would revive caps that nothing covers any more.
        _checkNotClosed(job);
        if (expiry != job.expiry) {
            _checkExpiry(expiry, job.expiry);
            job.expiry = expiry;
        }
        uint128 credited = amount == 0 ? 0 : _deposit(job.token, amount);
        job.free += credited;
        emit Topped(id, credited, expiry);
    }

    /// @notice Moves money of the payer's from `free` into lanes: `added[i]` more for `payees[i]`.
    function reserve(bytes32 id, address[] calldata payees, uint128[] calldata added) external nonReentrant {
        Job storage job = _jobOfPayer(id);
        if (payees.length == 0) revert EmptyBatch();
        if (payees.length != added.length) revert LengthMismatch(payees.length, added.length);
        if (block.timestamp > job.expiry) revert Expired(job.expiry, block.timestamp);
        uint256 total = 0;
        for (uint256 i = 0; i < payees.length; i++) {
            total += added[i];
            _raiseCap(id, payees[i], added[i]);
        }
        uint128 free = job.free;
        if (total > free) revert InsufficientFree(free, total);
        job.free = free - uint128(total);
        job.reserved += uint128(total);
    }

    /**
     * @notice Pays vouchers. Anyone may call, so that a payee without gas money can be helped; the payee is paid.
     *
     * A wrong signature reverts the whole call: whoever made the batch could have known. What can change between
     * signing a transaction and its inclusion (a lane paid or released by another one, a token that refuses the
     * payee) only leaves that entry out, unless nobody is paid at all: then the first entry's error is raised.
     *
     * Vouchers are checked with ECDSA alone. If a signer's code were asked (ERC-1271), a payer could take back what
     * it signed: a key with an EIP-7702 delegation is an account with code, and can be given code that says no.
     */
    function redeem(bytes32 id, Voucher[] calldata vouchers) external nonReentrant {
        Job storage job = _openJob(id);
        if (vouchers.length == 0) revert EmptyBatch();
        bool isAnyPaid = false;
        for (uint256 i = 0; i < vouchers.length; i++) {
            Voucher calldata voucher = vouchers[i];
            _checkVoucher(id, job.signer, voucher);
            if (_pay(id, job, voucher.payee, voucher.cumulative, voucher.ledgerHead)) isAnyPaid = true;
        }
        if (!isAnyPaid) _revertFor(id, vouchers[0].payee, vouchers[0].cumulative);
    }

    /**
     * @notice The payer pays its lanes without signatures, at two thirds of the gas; entries are left out as in
     * `redeem`, and vouchers up to `cumulatives[i]` are paid with it.
     * @param ledgerHead Anchors the log that the payer exports, once for the whole batch.
     */
    function settle(
        bytes32 id,
        address[] calldata payees,
        uint128[] calldata cumulatives,
        bytes32 ledgerHead
    ) external nonReentrant {
        Job storage job = _jobOfPayer(id);
        _checkNotClosed(job);
        if (payees.length == 0) revert EmptyBatch();
        if (payees.length != cumulatives.length) revert LengthMismatch(payees.length, cumulatives.length);
        bool isAnyPaid = false;
        for (uint256 i = 0; i < payees.length; i++) {
            if (_pay(id, job, payees[i], cumulatives[i], ledgerHead)) isAnyPaid = true;
        }
        if (!isAnyPaid) _revertFor(id, payees[0], cumulatives[0]);
    }

    /**
     * @notice A payee gives reserved money back to the payer's `free`: its cap falls to `cap`.
     * @param signature The payee's, over (job, payee, cap, nonce of the lane). Every change of the cap moves the
     * nonce, so that a release kept back cannot be used after the payer has raised the cap and the payee has
     * earned from it. Contract wallets may sign (ERC-1271): only the payee itself can lose by it.
     */
    function release(bytes32 id, address payee, uint128 cap, bytes calldata signature) external nonReentrant {
        Job storage job = _openJob(id);
        Lane storage lane = lanes[id][payee];
        uint112 oldCap = lane.cap;
        if (cap >= oldCap || cap < lane.paid) revert BadRelease(payee, lane.paid, oldCap, cap);
        uint32 nonce = lane.nonce;
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(RELEASE_TYPEHASH, id, payee, cap, nonce)));
        if (!SignatureChecker.isValidSignatureNowCalldata(payee, digest, signature)) revert BadSig(payee);
        uint128 freed = oldCap - cap;
        // Below oldCap, which is an uint112.
        lane.cap = uint112(cap);
        lane.nonce = nonce + 1;
        job.reserved -= freed;
        job.free += freed;
        emit Released(id, payee, cap, freed, nonce + 1);
    }

    /**
     * @notice Sends the payer what is its own: `free` at any time, and what is reserved once the job is closed.
     * @return amount What was sent; 0 is not an error.
     */
    function refund(bytes32 id) external nonReentrant returns (uint256 amount) {
        Job storage job = _jobOfPayer(id);
        uint128 free = job.free;
        uint128 reserved = block.timestamp > _closesAt(job) ? job.reserved : 0;
        job.free = 0;
        job.reserved -= reserved;
        amount = uint256(free) + reserved;
        emit Refunded(id, free, reserved);
        if (amount > 0) job.token.safeTransfer(job.payer, amount);
    }

    /// @notice The id that `open` gives this payer for this salt, on this chain and in this escrow.
    function jobId(address payer, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), payer, salt));
    }

    /// @dev Pays `cumulative - paid`, all or nothing. False, with an event, when the entry was left out.
    function _pay(bytes32 id, Job storage job, address payee, uint128 cumulative, bytes32 ledgerHead)
        private
        returns (bool)
    {
        Lane storage lane = lanes[id][payee];
        uint112 paid = lane.paid;
        bytes4 reason = _whyNot(lane.cap, paid, cumulative);
        if (reason == 0) {
            uint128 delta = cumulative - paid;
            uint128 reserved = job.reserved;
            // Up to cap, which is an uint112. Effects come first, and are taken back when the token refuses.
            lane.paid = uint112(cumulative);
            job.reserved = reserved - delta;
            if (job.token.trySafeTransfer(payee, delta)) {
                emit Paid(id, payee, cumulative, delta, ledgerHead);
                return true;
            }
            lane.paid = paid;
            job.reserved = reserved;
            reason = TransferFailed.selector;
        }
        emit Skipped(id, payee, cumulative, reason);
        return false;
    }

    function _whyNot(uint256 cap, uint256 paid, uint256 cumulative) private pure returns (bytes4) {
        if (cumulative <= paid) return Stale.selector;
        if (cumulative > cap) return OverCap.selector;
        return 0;
    }

    /// @dev The error of an entry that was left out of a batch in which nobody was paid.
    function _revertFor(bytes32 id, address payee, uint256 cumulative) private view {
        Lane storage lane = lanes[id][payee];
        bytes4 reason = _whyNot(lane.cap, lane.paid, cumulative);
        if (reason == Stale.selector) revert Stale(payee, lane.paid, cumulative);
        if (reason == OverCap.selector) revert OverCap(payee, lane.cap, cumulative);
        revert TransferFailed(payee, cumulative - lane.paid);
    }

    function _checkVoucher(bytes32 id, address signer, Voucher calldata voucher) private view {
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(
                    VOUCHER_TYPEHASH,
                    id,
                    voucher.payee,
                    voucher.cumulative,
                    voucher.seq,
                    voucher.ledgerHead
                )
            )
        );
        // A failed recovery gives address 0, which no job has as its signer.
        (address recovered, , ) = ECDSA.tryRecover(digest, voucher.r, voucher.vs);
        if (recovered != signer) revert BadSig(voucher.payee);
    }

    function _raiseCap(bytes32 id, address payee, uint128 added) private {
        if (payee == address(0)) revert ZeroAddress();
        if (payee == address(this)) revert PayeeIsEscrow();
        Lane storage lane = lanes[id][payee];
        uint112 cap = (uint256(lane.cap) + added).toUint112();
        uint32 nonce = lane.nonce + 1;
        lane.cap = cap;
        lane.nonce = nonce;
        emit Reserved(id, payee, added, cap, nonce);
    }

    /// @dev Takes `amount` from the caller; what arrived is what counts.
    function _deposit(IERC20 token, uint256 amount) private returns (uint128) {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        return (token.balanceOf(address(this)) - before).toUint128();
    }

    function _openJob(bytes32 id) private view returns (Job storage job) {
        job = jobs[id];
        if (job.payer == address(0)) revert NoSuchJob(id);
        _checkNotClosed(job);
    }

    function _jobOfPayer(bytes32 id) private view returns (Job storage job) {
        job = jobs[id];
        address payer = job.payer;
        if (payer == address(0)) revert NoSuchJob(id);
        if (payer != msg.sender) revert NotPayer(id, payer, msg.sender);
    }

    function _closesAt(Job storage job) private view returns (uint256) {
        return uint256(job.expiry) + GRACE;
    }

    function _checkNotClosed(Job storage job) private view {
        uint256 closesAt = _closesAt(job);
        if (block.timestamp > closesAt) revert Closed(closesAt, block.timestamp);
    }

    function _checkExpiry(uint256 expiry, uint256 earliest) private view {
        uint256 latest = block.timestamp + MAX_DURATION;
        if (expiry < earliest || expiry > latest) revert BadExpiry(expiry, earliest, latest);
    }
}
