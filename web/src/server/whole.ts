// A large answer, fetched by a worker: the page hears of it once it is there as a whole.

/** An answer of the server; `after`: seconds after which to come again, as its header says them. */
export interface Whole {
  status: number
  after: string | null
  body: ArrayBuffer
}

export async function whole(address: string): Promise<Whole> {
  const response = await fetch(address)
  return { status: response.status, after: response.headers.get('Retry-After'), body: await response.arrayBuffer() }
}

/** `whole`, done by a worker that is started now. */
export function wholeBeside(): (address: string) => Promise<Whole> {
  const worker = new Worker(new URL('./fetching.ts', import.meta.url), { type: 'module' })
  const waiting = new Map<number, (told: Whole | null) => void>()
  let count = 0
  worker.onmessage = ({ data }: MessageEvent<{ id: number; told: Whole | null }>) => {
    waiting.get(data.id)?.(data.told)
    waiting.delete(data.id)
  }
  return (address) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, (told) => (told ? resolve(told) : reject(new Error('The connection broke.'))))
      worker.postMessage({ id: count, address: new URL(address, document.baseURI).href })
    })
}
