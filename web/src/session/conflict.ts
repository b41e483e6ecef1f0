// What is to be said, and may be done again, where somebody else changed the session meanwhile.

import type { ObjectInfo, Stroke } from '../server/types.ts'
import { strokesOf } from './outbox.ts'

/** What was not done, since it was made for what the session was before. */
export interface Conflict {
  kind: string
  body: object
  /** Strokes that were not drawn, or were to be afterwards. */
  strokes: Stroke[]
  /** The object that they were for. */
  object: string | null
  /** What others did. */
  news: string
}

const LOST: Record<string, string> = {
  box: 'Your box was not segmented',
  scribble: 'Your stroke was not drawn',
  resize: 'Your change of the box was not made',
  propagate: 'The object was not carried on',
}

/** What may be offered again of an interaction, and of strokes that waited for it: what was drawn; else null. */
export function notDone(
  kind: string,
  body: object,
  waiting: Stroke[],
  object: string | null,
  news: string,
): Conflict | null {
  const strokes = kind === 'scribble' ? [...strokesOf(body), ...waiting] : waiting
  if (!(kind in LOST) && !strokes.length) return null // all else is one click anyway
  return { kind: kind in LOST ? kind : 'scribble', body, strokes, object, news }
}

/** What became of the user's own, in a sentence. */
export function lost({ kind, strokes }: Pick<Conflict, 'kind' | 'strokes'>): string {
  const what =
    kind === 'scribble' && strokes.length > 1
      ? `Your ${strokes.length} strokes were not drawn`
      : (LOST[kind] ?? 'Nothing was done')
  return `${what}: it was for what you saw before.`
}

/** What others made of a session's objects, in a sentence. */
export function news(before: ObjectInfo[], after: ObjectInfo[]): string {
  const old = new Map(before.map((object) => [object.name, object.version]))
  const now = new Set(after.map((object) => object.name))
  const fresh = after.filter((object) => !old.has(object.name)).map((object) => `${object.name} is new`)
  const other = after.filter((object) => (old.get(object.name) ?? object.version) !== object.version)
  const gone = before.filter((object) => !now.has(object.name)).map((object) => `${object.name} is gone`)
  const told = [...other.map((object) => `${object.name} is changed`), ...fresh, ...gone]
  return `Someone else worked on this session meanwhile: ${told.join(', ') || 'what is worked on, or can be undone'}.`
}
