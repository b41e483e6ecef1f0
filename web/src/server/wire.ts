// What comes over the network, piece by piece, and what breaks on the way.

/** Hears which share has passed, 0 to 1. */
export type Progress = (share: number) => void

/** The connection broke before there was an answer. */
export class LostError extends Error {}

/** Whatever the network does wrong is LostError, so that no other mistake is taken for it; an abort stays one. */
export async function wire<T>(coming: Promise<T>): Promise<T> {
  try {
    return await coming
  } catch (error) {
    throw error instanceof Error && error.name === 'AbortError' ? error : new LostError()
  }
}

/** One server-sent event. */
export interface ServerEvent {
  name: string
  data: string
}

/**
 * Server-sent events as they come, wherever their bytes are split; one that is cut off at the end is none.
 * `silence`: milliseconds without a byte after which the connection counts as lost, whatever the browser thinks.
 */
export async function* eventsIn(body: ReadableStream<Uint8Array>, silence: number): AsyncGenerator<ServerEvent> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let waiting = ''
  let ended = false
  try {
    while (!ended) {
      const { done, value } = await wire(within(silence, reader.read()))
      ended = done
      waiting += decoder.decode(value, { stream: true })
      const blocks = waiting.split(/\r?\n\r?\n/)
      waiting = blocks.pop() ?? ''
      for (const block of blocks) {
        const event = eventOf(block)
        if (event) yield event
      }
    }
  } finally {
    if (!ended) reader.cancel().catch(() => {}) // one that broke is over anyway
  }
}

/** The event that some lines say; null where they only say that the server is alive. */
function eventOf(block: string): ServerEvent | null {
  const fields = block.split(/\r?\n/).map((line) => /^(\w+):? ?(.*)$/.exec(line) ?? [])
  const values = (field: string) => fields.filter(([, name]) => name === field).map(([, , value]) => value)
  const data = values('data')
  return data.length ? { name: values('event').at(-1) ?? 'message', data: data.join('\n') } : null
}

/** Wait, unless `signal` says to stop. */
export async function orAborted(waiting: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (!signal) return waiting
  let stop = () => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop)
  })
  await Promise.race([waiting, aborted]).finally(() => signal.removeEventListener('abort', stop))
}

async function within<T>(milliseconds: number, coming: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LostError()), milliseconds)
  })
  return Promise.race([coming, late]).finally(() => clearTimeout(timer))
}
