import { Subscribers } from './subscribers.ts';

test('each listener hears each event until it ends its subscription, also within an event', () => {
  const subscribers = new Subscribers<number>();
  const heard: string[] = [];
  const end = subscribers.add((event) => {
    heard.push(`a${event}`);
    if (event === 2) end();
  });
  subscribers.add((event) => heard.push(`b${event}`));
  for (const event of [1, 2, 3]) subscribers.emit(event);
  expect(heard).toStrictEqual(['a1', 'b1', 'a2', 'b2', 'b3']);
});
