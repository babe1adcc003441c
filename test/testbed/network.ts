import { existsSync } from 'node:fs';
import { CONTROL_PLANE_IP, NETNS, SERVICE_IP } from './paths.ts';
import { sh, shInNetns } from './process/shell.ts';

/** Makes the cluster's network namespace: a storage and a management bridge. Nothing in it reaches outside. */
export function makeNetwork(): void {
  sh(`ip netns add ${NETNS}`);
  shInNetns(`
    ip link set lo up
    ip addr add ${SERVICE_IP}/32 dev lo
    for bridge in storage management; do
      ip link add $bridge type bridge stp_state 0 mcast_snooping 0
      ip link set $bridge up
    done
    ip link set storage mtu 9000
    ip addr add ${CONTROL_PLANE_IP}/24 dev management
    ip route add default via 10.77.0.254
    sysctl -qw net.ipv4.ip_forward=1
    sysctl -qw net.ipv6.conf.all.disable_ipv6=1 || true`);
}

export function removeNetwork(): void {
  if (existsSync(`/run/netns/${NETNS}`)) sh(`ip netns del ${NETNS}`);
}
