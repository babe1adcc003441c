import type { Address } from '../../api/address.ts';

/** A volume's node and address. */
export interface Placed {
  readonly nodeName: string;
  readonly address: Address;
}

/** Reasons of condition Placed when it is False. */
export type Refusal =
  | 'NoSuchPool'
  | 'PoolFull'
  | 'NoEligibleNode'
  | 'NodesNotReady'
  | 'SourceNotReady'
  | 'SourceTooLarge'
  | 'SourceInUse'
  | 'AddressTaken'
  | 'AddressOutOfRange'
  | 'AddressRangeExhausted'
  | 'SerialTaken';

/** Why a volume cannot be placed, or cannot have the place that it claims. */
export interface Refused {
  readonly refused: Refusal;
  /** For people. */
  readonly message: string;
}

/** What placement decides. What keeps a placed volume from being served is an Obstacle. */
export type Placement = Placed | Refused;
