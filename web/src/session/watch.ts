// Hears what others do to a session, while this tab is to be seen: a browser has few connections to one server.

import type { Api } from '../server/api.ts'
import { ApiError } from '../server/errors.ts'

/** Listen until the returned function is called; `heard` gets the session's number, at first and whenever it changes. */
export function watch(api: Api, id: string, heard: (number: number) => void): () => void {
  let listening: AbortController | null = null
  const listen = async (signal: AbortSignal) => {
    try {
      for await (const number of api.numbers(id, signal)) heard(number)
    } catch (error) {
      // A session that was deleted, or one who is no longer known: what is done next says so.
      if (!signal.aborted && !(error instanceof ApiError)) throw error
    }
  }
  const follow = () => {
    if (document.hidden === (listening === null)) return
    listening?.abort()
    listening = document.hidden ? null : new AbortController()
    if (listening) void listen(listening.signal)
  }
  document.addEventListener('visibilitychange', follow)
  follow()
  return () => {
    document.removeEventListener('visibilitychange', follow)
    listening?.abort()
  }
}
