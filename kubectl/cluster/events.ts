import { EVENTS, type Event } from './objects.ts';
import type { Reader } from './reader.ts';

export interface About {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string | undefined;
}

/** The events about an object. Those of objects without a namespace are in `default`. An object of the same name that was there earlier does not count. */
export async function eventsAbout(reader: Reader, { namespace, name, uid }: About): Promise<Event[]> {
  const events = await reader.list<Event>(EVENTS, { namespace, fieldSelector: `involvedObject.name=${name}` });
  return (events ?? []).filter(({ involvedObject }) => uid === undefined || involvedObject.uid === undefined || involvedObject.uid === uid);
}
