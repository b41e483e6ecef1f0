// What a person likes to see, and how one session was looked at: kept in this browser, and worth nothing else.

import { PALETTE } from '../canvas/colours.ts'
import type { Vec3 } from '../scan/axes.ts'
import type { Measurement } from '../scan/measurement.ts'
import type { Window } from '../scan/volume.ts'

const KEY = 'bifseg'
const KEPT = 50 // sessions
const LATER = 300 // milliseconds

export type MapKind = 'none' | 'probability' | 'uncertainty' | 'weights'
export type Layout = 'four' | 'axial' | 'coronal' | 'sagittal' | 'render'

export interface Look {
  theme: 'auto' | 'dark' | 'light'
  layout: Layout
  opacity: number
  mapOpacity: number
  map: MapKind
  brush: number
  /** Whether large values are dark. */
  inverted: boolean
  smooth: boolean
  /** Of masks of new sessions, in 3D: whether small holes are filled, and small islands dropped. */
  fillHoles: boolean
  dropIslands: boolean
  crosshair: boolean
  dimension: 2 | 3
  /** The task that new objects belong to, in this session and the next. */
  task: string | null
}

/** What belongs to one scan: another one begins with `FRESH`. */
type Own = Pick<Look, 'layout' | 'map' | 'dimension' | 'brush' | 'inverted'>

/** How one session was looked at; objects by their names. */
export interface Seen {
  /** What was chosen by hand. */
  own: Partial<Own>
  colours: Record<string, number>
  hidden: string[]
  locked: string[]
  window: Window | null
  cursor: Vec3 | null
  measurements: Measurement[]
  touched: number
}

const FRESH: Own = { layout: 'four', map: 'none', dimension: 3, brush: 1.5, inverted: false }
const LOOK: Look = {
  ...FRESH,
  theme: 'auto',
  opacity: 0.25,
  mapOpacity: 0.6,
  smooth: true,
  crosshair: true,
  fillHoles: true,
  dropIslands: true,
  task: null,
}

export class Prefs {
  readonly look: Look
  private readonly sessions: Record<string, Seen>
  private timer = 0

  constructor(private readonly storage: Storage | null = available()) {
    const stored = read(this.storage)
    this.look = { ...LOOK, ...stored.look, ...FRESH }
    this.sessions = stored.sessions ?? {}
  }

  seen(id: string): Seen {
    const seen: Seen = {
      own: {},
      colours: {},
      hidden: [],
      locked: [],
      window: null,
      cursor: null,
      measurements: [],
      touched: 0,
    }
    this.sessions[id] = Object.assign(seen, this.sessions[id])
    return seen
  }

  /** A session comes on the screen: look at it as before, or where it is new as at any new one of its kind. */
  open(id: string, inverted: boolean): Seen {
    const seen = this.seen(id)
    Object.assign(this.look, FRESH, { inverted }, seen.own)
    return seen
  }

  /** Something is to be seen otherwise, by the user's own hand. */
  choose(id: string, change: Partial<Look>): void {
    Object.assign(this.look, change)
    const { own } = this.seen(id)
    for (const name of Object.keys(FRESH) as (keyof Own)[]) {
      if (name in change) Object.assign(own, { [name]: change[name] })
    }
    this.save(id)
  }

  /** An object's name changed. */
  renamed(id: string, name: string, to: string): void {
    const seen = this.seen(id)
    if (name in seen.colours) seen.colours[to] = seen.colours[name] ?? 0
    delete seen.colours[name]
    for (const list of [seen.hidden, seen.locked]) {
      const place = list.indexOf(name)
      if (place >= 0) list[place] = to
    }
  }

  /** Keep it, soon: a hand that moves changes it a hundred times a second. */
  save(id?: string): void {
    if (id) this.seen(id).touched = Date.now()
    window.clearTimeout(this.timer)
    this.timer = window.setTimeout(() => this.write(), LATER)
  }

  /** Keep what is still to be kept: the page is left. One that waits for nothing overwrites no other window's. */
  leave(): void {
    if (this.timer) this.write()
  }

  /** Keep it now. */
  write(): void {
    window.clearTimeout(this.timer)
    this.timer = 0
    const kept = Object.entries(this.sessions)
      .sort(([, a], [, b]) => b.touched - a.touched)
      .slice(0, KEPT)
    try {
      this.storage?.setItem(KEY, JSON.stringify({ look: this.look, sessions: Object.fromEntries(kept) }))
    } catch {
      // a full or forbidden storage loses nothing but looks
    }
  }
}

/** Which colour of the palette the k-th object has, unless it was given another. */
export function colourOf(seen: Seen, name: string, k: number): number {
  return seen.colours[name] ?? k % PALETTE.length
}

function available(): Storage | null {
  try {
    return window.localStorage
  } catch {
    return null
  }
}

function read(storage: Storage | null): { look?: Partial<Look>; sessions?: Record<string, Seen> } {
  try {
    return JSON.parse(storage?.getItem(KEY) ?? '{}') ?? {}
  } catch {
    return {}
  }
}
