// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {HookToken, TransferHook} from "./HostileTokens.sol";

/// @notice A payee that calls back into a prepared target when it is paid, and remembers what it was told.
contract ReentrantPayee is TransferHook {
    address public target;
    bytes public payload;
    uint256 public attempts;
    bytes4 public refusal;

    function arm(HookToken token, address target_, bytes calldata payload_) external {
        target = target_;
        payload = payload_;
        token.setHooked(true);
    }

    function onTransfer(address, address, uint256) external {
        attempts++;
        (bool ok, bytes memory result) = target.call(payload);
        refusal = ok || result.length < 4 ? bytes4(0) : bytes4(result);
    }
}

/// @notice A payee that spends all the gas it is given when it is paid.
contract GasBurningPayee is TransferHook {
    uint256 private sink;

    function arm(HookToken token) external {
        token.setHooked(true);
    }

    function onTransfer(address, address, uint256) external {
        while (true) sink++;
    }
}

/// @notice A contract wallet: signs what its owner signed, unless it is told to refuse.
contract ContractWallet is IERC1271 {
    address public immutable owner;
    bool public isRefusing;

    constructor(address owner_) {
        owner = owner_;
    }

    function setRefusing(bool refusing) external {
        isRefusing = refusing;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address recovered, , ) = ECDSA.tryRecover(hash, signature);
        bool isValid = !isRefusing && recovered == owner;
        return isValid ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @notice Code for an EIP-7702 delegation that denies every signature of the account it is put into.
contract DenyingCode is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return 0xffffffff;
    }
}
