/** Name of the operator as a field manager of server-side apply. */
export const FIELD_MANAGER = 'aoe-csi-operator';
