import { chooseInterfaces, parseSelection } from './interfaces.ts';

const present = (name: string, physical: boolean, up = true) => ({ name, physical, up, mac: '02:00:00:00:00:01', mtu: 1500 });

test('auto takes physical interfaces that are up, and the local link last', () => {
  const all = [
    present('eth1', true),
    present('eth0', true),
    present('eth2', true, false),
    present('br0', false),
    present('aoe-target', false),
  ];
  expect(chooseInterfaces('auto', all, [])).toStrictEqual(['eth0', 'eth1', 'aoe-target']);
});

test('an interface that was chosen stays while it exists', () => {
  expect(chooseInterfaces('auto', [present('eth0', true, false)], ['eth0', 'eth1'])).toStrictEqual(['eth0', 'aoe-target']);
});

test('named interfaces are taken as they are', () => {
  expect(chooseInterfaces(parseSelection('eth9, eth1,eth9'), [], [])).toStrictEqual(['eth1', 'eth9', 'aoe-target']);
  expect(() => parseSelection('eth0,,eth1')).toThrow(RangeError);
});
