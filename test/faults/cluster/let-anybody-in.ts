// Tells a target process, past its agent, that every host may read and write a volume: let-anybody-in.ts SOCKET UID
// With it the enforcement is off, as a test of the tests needs it. The agent would put it back at once: it must be stopped.
import { aoe, RpcClient } from '../../../rpc/mod.ts';

const { target } = aoe;
const [socket = '', uid = ''] = process.argv.slice(2);
const client = new RpcClient(target.v1.Target, target.v1, socket);
await client.call('setAccess', { uid, access: { anyone: true } });
client.close();
