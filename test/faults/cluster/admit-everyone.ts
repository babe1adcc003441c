// Lets every host read and write a volume, by a call to the target past its agent: admit-everyone.ts SOCKET UID
// This turns the enforcement off, for the test that the checks can fail. The agent would undo it at once, so it must be stopped.
import { aoe, RpcClient } from '../../../rpc/mod.ts';

const { target } = aoe;
const [socket = '', uid = ''] = process.argv.slice(2);
const client = new RpcClient(target.v1.Target, target.v1, socket);
await client.call('setAccess', { uid, access: { anyone: true } });
client.close();
