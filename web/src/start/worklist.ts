// Scans that are gone through one after the other, each in a session of its own.

import type { Api } from '../server/api.ts'
import { ApiError, sentenceOf } from '../server/errors.ts'
import { described, intake, ofOneSeries, type Telling } from './intake.ts'
import type { NamedBlob } from './zip.ts'

const KEY = 'bifseg-worklist'

/** One scan of a list. */
export interface Entry {
  title: string
  /** Where it lies in the server's folder of scans, */
  path?: string
  /** or what was chosen or dropped; a page that is loaded anew has it no longer. */
  file?: NamedBlob
  /** Its session, once it has one. */
  session?: string
  /** Why it could not be opened. */
  fault?: string
}

type Brought = { image: string; title: string }
type Begin = (image: string, title: string) => Promise<string>

/** The list of this tab; it is kept until the tab is closed. */
export class Worklist {
  private readonly early = new Map<Entry, Promise<Brought | null>>()

  constructor(
    private readonly api: Api,
    readonly entries: Entry[],
    private readonly storage: Storage | null = available(),
  ) {
    this.keep()
  }

  /** The list that this tab had before it was loaded anew. */
  static kept(api: Api, storage: Storage | null = available()): Worklist | null {
    try {
      const entries = JSON.parse(storage?.getItem(KEY) ?? '[]') as Entry[]
      return entries.length ? new Worklist(api, entries, storage) : null
    } catch {
      return null
    }
  }

  /** Where a session's scan stands, counted from 0; -1 where it is none of these. */
  placeOf(session: string): number {
    return this.entries.findIndex((entry) => entry.session === session)
  }

  /** The next one from a place on, or with -1 the one before, that can be opened; null where there is none. */
  beside(place: number, step: 1 | -1): number | null {
    for (let k = place + step; k >= 0 && k < this.entries.length; k += step) {
      if (!this.entries[k]?.fault) return k
    }
    return null
  }

  /** The id of a scan's session, which `begin` begins where there is none yet. Rejects where it cannot be opened. */
  async session(place: number, begin: Begin, telling: Telling = () => {}): Promise<string> {
    const entry = this.entries[place]
    if (!entry) throw new RangeError(`There is no scan ${place}.`)
    if (entry.session && (await this.exists(entry.session))) return entry.session
    try {
      const { image, title } = (await this.early.get(entry)) ?? (await this.bring(entry, telling))
      this.early.delete(entry)
      entry.session = await begin(image, title)
      entry.title = title
      delete entry.fault
    } catch (error) {
      if (!(error instanceof DOMException)) entry.fault = sentenceOf(error) // else the user would rather not
      throw error
    } finally {
      this.keep()
    }
    return entry.session
  }

  /** A session was deleted: its scan begins anew when it is asked for. */
  forget(session: string): void {
    delete this.entries[this.placeOf(session)]?.session
    this.keep()
  }

  /** Bring a scan to the server before it is asked for; what is wrong with it is told then. */
  prepare(place: number | null): void {
    const entry = place === null ? undefined : this.entries[place]
    if (!entry || entry.session || this.early.has(entry)) return
    const bringing = entry.path ? this.opened(entry, entry.path, null) : this.bring(entry)
    this.early.set(
      entry,
      bringing.catch(() => null),
    )
  }

  /** A file or folder of the server; where it holds several DICOM series, `ask` asks for one. */
  private async opened({ title }: Entry, path: string, ask: typeof ofOneSeries | null): Promise<Brought> {
    const open = (series?: string) => this.api.openFile(path, series)
    const image = await (ask ? ask(open) : open())
    return { image: image.key, title: await described(this.api, image, title) }
  }

  private async exists(session: string): Promise<boolean> {
    try {
      await this.api.session(session)
      return true
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return false
      throw error
    }
  }

  private async bring(entry: Entry, telling: Telling = () => {}): Promise<Brought> {
    const { title, path, file } = entry
    if (path) return this.opened(entry, path, ofOneSeries)
    if (!file) throw new Error(`${title} must be chosen again: this page was loaded anew since.`)
    const brought = await intake(this.api, [file], telling)
    return { image: brought.image.key, title: brought.title }
  }

  private keep(): void {
    try {
      const told = this.entries.map(({ title, path, session, fault }) => ({ title, path, session, fault }))
      this.storage?.setItem(KEY, JSON.stringify(told))
    } catch {
      // a full or forbidden storage: the list ends when the page is loaded anew
    }
  }
}

function available(): Storage | null {
  try {
    return window.sessionStorage
  } catch {
    return null
  }
}
