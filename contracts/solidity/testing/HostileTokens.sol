// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice Base of the tokens that tests are attacked with; anyone may mint.
abstract contract MintableToken is ERC20 {
    constructor() ERC20("Hostile", "BAD") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice Keeps 1 % of every transfer for itself.
contract FeeToken is MintableToken {
    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        uint256 fee = value / 100;
        super._update(from, address(this), fee);
        super._update(from, to, value - fee);
    }
}

/// @notice Refuses transfers from and to listed accounts, as issuers of stablecoins can.
contract BlacklistToken is MintableToken {
    mapping(address account => bool) public isListed;

    error Blacklisted(address account);

    function setListed(address account, bool listed) external {
        isListed[account] = listed;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (isListed[from]) revert Blacklisted(from);
        if (isListed[to]) revert Blacklisted(to);
        super._update(from, to, value);
    }
}

/// @notice Says no by returning false instead of reverting.
contract FalseToken is MintableToken {
    bool public isRefusing;

    function setRefusing(bool refusing) external {
        isRefusing = refusing;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return isRefusing ? false : super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return isRefusing ? false : super.transferFrom(from, to, value);
    }
}

/// @notice Answers a refused transfer with 1 MB of revert data, to burn the caller's gas by copying it.
contract ReturnBombToken is MintableToken {
    address public victim;

    function setVictim(address account) external {
        victim = account;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        if (to == victim) {
            assembly ("memory-safe") {
                revert(0, 1000000)
            }
        }
        return super.transfer(to, value);
    }
}

/// @notice Has no `decimals`, which ERC-20 makes optional, and returns nothing, as the oldest tokens do.
contract BareToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    error Insufficient();

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        if (allowance[from][msg.sender] < amount) revert Insufficient();
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        if (balanceOf[from] < amount) revert Insufficient();
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Tells both sides of a transfer after it, as ERC-777 does; the hook is how a payee can run code.
contract HookToken is MintableToken {
    mapping(address account => bool) public isHooked;

    function setHooked(bool hooked) external {
        isHooked[msg.sender] = hooked;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (isHooked[from]) TransferHook(from).onTransfer(from, to, value);
        if (isHooked[to]) TransferHook(to).onTransfer(from, to, value);
    }
}

interface TransferHook {
    function onTransfer(address from, address to, uint256 value) external;
}

/// @notice Calls a prepared target in the middle of a transfer: reentrancy by the token itself.
contract ReentrantToken is MintableToken {
    address public target;
    bytes public payload;
    bool public hasEntered;
    bool public wasRefused;
    bytes4 public refusal;

    function arm(address target_, bytes calldata payload_) external {
        target = target_;
        payload = payload_;
        hasEntered = false;
        wasRefused = false;
        refusal = 0;
    }

    function approveFor(address spender, uint256 amount) external {
        _approve(address(this), spender, amount);
    }

    /// @notice Lets the token act as a payer of its own, so that `msg.sender` checks do not stop the re-entry.
    function act(address to, bytes calldata data) external returns (bytes memory) {
        (bool ok, bytes memory result) = to.call(data);
        require(ok, "act failed");
        return result;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (target == address(0) || hasEntered) return;
        hasEntered = true;
        (bool ok, bytes memory result) = target.call(payload);
        wasRefused = !ok;
        if (!ok && result.length >= 4) refusal = bytes4(result);
    }
}
