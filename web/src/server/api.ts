// The server, as the page sees it. What can be asked twice outlives a lost connection; errors are the server's sentences.

import { type Box, formatBox, parseBox } from '../scan/axes.ts'
import { ApiError } from './errors.ts'
import { Requests } from './requests.ts'
import type {
  DisplayInfo,
  Done,
  EntryInfo,
  FileInfo,
  ImageInfo,
  MeasureInfo,
  PlaceInfo,
  RoundEvent,
  ServerInfo,
  SessionInfo,
  SessionState,
  TaskInfo,
  TaskState,
} from './types.ts'
import { eventsIn, LostError, orAborted, type Progress, wire } from './wire.ts'

export type What = 'labels' | 'mask' | 'scribbles' | 'probability' | 'uncertainty' | 'weights'

/** An array as it fills a box of the file, C order (z runs fastest); `number`: the interaction it is of. */
export interface Result {
  data: Uint8Array | Uint16Array | Float32Array
  box: Box
  number: number
}

/** Who hears what of an interaction while it runs. */
export interface Acting {
  round?: (told: RoundEvent) => void
  /** How many interactions are computed before this one. */
  queued?: (before: number) => void
  signal?: AbortSignal
  /** The session's `number` that it is made for; ApiError 412 where somebody was faster, and nothing is done. */
  at?: number
  /** Of this interaction; who sends one twice under the same has it done once. */
  key?: string
}

const SILENCE = 30 // seconds; a stream that lives says something every ten
const ARRAYS = { bool: Uint8Array, uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array }

export class Api extends Requests {
  // ---- the server and its images

  /** Exchange a token for a cookie; ApiError 401 for a wrong one. */
  async enter(token: string): Promise<void> {
    await this.once('enter', post({ token }), true)
  }

  server(): Promise<ServerInfo> {
    return this.json('server')
  }

  images(): Promise<ImageInfo[]> {
    return this.json('images')
  }

  image(key: string): Promise<ImageInfo> {
    return this.json(`images/${encodeURIComponent(key)}`)
  }

  /** The address of a small picture of an image. */
  thumbnail(key: string): string {
    return `${this.base}api/v1/images/${encodeURIComponent(key)}/thumbnail`
  }

  /** How an image wants to be seen. */
  display(key: string): Promise<DisplayInfo> {
    return this.json(`images/${encodeURIComponent(key)}/display`)
  }

  /** Send an image; its name's ending says the format. `series`: UID of one of several DICOM series. */
  upload(body: Blob, name: string, progress?: Progress, series?: string, signal?: AbortSignal): Promise<ImageInfo> {
    return this.send(`images?${query({ name: name.slice(-300), series })}`, body, progress, signal)
  }

  /** Take a file, or a folder of DICOM slices, from the server's folder of images. */
  openFile(path: string, series?: string): Promise<ImageInfo> {
    return this.json('images/open', post({ path, series })) // asked twice, it is kept once
  }

  /** What lies in a folder of the server's folder of images. */
  files(folder: string): Promise<FileInfo[]> {
    return this.json(`files?${query({ folder })}`)
  }

  demo(): Promise<ImageInfo> {
    return this.json('images/demo', { method: 'POST' })
  }

  /** A part of the scan, its voxels in canonical order: a NIfTI file. */
  canonical(key: string, box: Box, signal?: AbortSignal): Promise<ArrayBuffer> {
    const part = query({ box: formatBox(box) })
    return this.patiently(() => this.whole(`api/v1/images/${encodeURIComponent(key)}/canonical?${part}`), signal)
  }

  // ---- sessions

  sessions(): Promise<SessionInfo[]> {
    return this.json('sessions')
  }

  /** `tidy`: whether its masks in 3D shall have their small holes filled, and their small islands dropped. */
  async createSession(
    image: string,
    title: string,
    tidy = { fillHoles: true, dropIslands: true },
  ): Promise<SessionState> {
    const left = { ...(tidy.fillHoles ? {} : { fill_holes: 0 }), ...(tidy.dropIslands ? {} : { drop_islands: 0 }) }
    const parameters = Object.keys(left).length ? { preset: 'fast', ...left } : 'fast'
    const response = await this.once('api/v1/sessions', post({ image, title: title.slice(0, 200), parameters }))
    return JSON.parse(await wire(response.text()))
  }

  session(id: string): Promise<SessionState> {
    return this.json(of(id))
  }

  async deleteSession(id: string): Promise<void> {
    await this.once(`api/v1/${of(id)}`, { method: 'DELETE' })
  }

  /** Take in a session file. */
  importSession(archive: Blob, progress?: Progress, signal?: AbortSignal): Promise<SessionState> {
    return this.send('sessions/import', archive, progress, signal)
  }

  /**
   * Do an interaction; `body` is what the server's API has for its `kind`. Where the connection breaks, the same request
   * is sent again under the same key once the server is back, and so done once; its rounds may then be told twice.
   *
   * Rejects with ApiError, or with AbortError where `signal` says so: to hang up is to cancel.
   */
  act(id: string, kind: string, body: object | null, options: Acting = {}): Promise<Done> {
    const { signal, at, key = newKey() } = options
    const headers: Record<string, string> = {
      Accept: 'text/event-stream',
      'Idempotency-Key': key,
      'Content-Type': 'application/json',
    }
    if (at !== undefined) headers['If-Match'] = `"${at}"`
    const request = { method: 'POST', headers, body: body && JSON.stringify(body), signal: signal ?? null }
    return this.patiently(
      async () => followed(await this.fetch(`api/v1/${of(id)}/${kind}`, request), options, SILENCE * this.second),
      signal,
    )
  }

  /** Whether there was something to cancel. */
  async cancel(id: string): Promise<boolean> {
    const response = await this.once(`api/v1/${of(id)}/cancel`, { method: 'POST' })
    return JSON.parse(await wire(response.text())).cancelled
  }

  /**
   * An array of the current object or of the one named; ApiError 404 where there is none (yet), and 412 where the object
   * is no longer of this version.
   */
  result(id: string, what: What, object?: string, version?: string): Promise<Result> {
    const request = version === undefined ? {} : { headers: { 'If-Match': `"${version}"` } }
    return this.patiently(async () => {
      const response = await this.fetch(`api/v1/${of(id)}/${what}?${query({ object })}`, request)
      const { headers } = response
      const bytes = await wire(response.arrayBuffer())
      const make = ARRAYS[headers.get('X-Dtype') as keyof typeof ARRAYS]
      const box = parseBox(headers.get('X-Box') ?? '')
      const count = box.start.reduce((product, start, k) => product * (Number(box.stop[k]) - start), 1)
      if (bytes.byteLength !== count * (make?.BYTES_PER_ELEMENT ?? 0)) {
        throw new ApiError(0, `The ${what} arrived damaged.`)
      }
      return { data: new make(bytes), box, number: Number(headers.get('X-Number')) }
    })
  }

  measures(id: string): Promise<MeasureInfo[]> {
    return this.json(`${of(id)}/measures`)
  }

  /** Where to look next: where most is uncertain in an object comes first. */
  places(id: string, object: string): Promise<PlaceInfo[]> {
    return this.json(`${of(id)}/places?${query({ object })}`)
  }

  report(id: string): Promise<unknown> {
    return this.json(`${of(id)}/report`)
  }

  /** All interactions, or those after one. */
  history(id: string, after = 0): Promise<EntryInfo[]> {
    return this.json(`${of(id)}/history?${query({ after: String(after) })}`)
  }

  /** The session's number, now and whenever it changes, until `signal` says stop; lost connections are made anew. */
  async *numbers(id: string, signal: AbortSignal): AsyncGenerator<number> {
    for (;;) {
      const response = await this.patiently(() => this.fetch(`api/v1/${of(id)}/events`, { signal }), signal)
      try {
        for await (const { data } of eventsIn(response.body ?? new ReadableStream(), SILENCE * this.second)) {
          yield JSON.parse(data).number
        }
      } catch (error) {
        if (!(error instanceof LostError)) throw error
      }
      await orAborted(this.pause(1), signal)
    }
  }

  // ---- tasks

  tasks(): Promise<TaskInfo[]> {
    return this.json('tasks')
  }

  task(name: string): Promise<TaskState> {
    return this.json(ofTask(name))
  }

  async beginTask(name: string): Promise<TaskState> {
    const response = await this.once('api/v1/tasks', post({ name }))
    return JSON.parse(await wire(response.text()))
  }

  async deleteTask(name: string): Promise<void> {
    await this.once(`api/v1/${ofTask(name)}`, { method: 'DELETE' })
  }

  /** Add an object of this version, which is right everywhere; asked twice, it is there once. */
  finish(task: string, session: string, object: string, version: string): Promise<TaskState> {
    const request = post({ session, object })
    return this.json(`${ofTask(task)}/objects`, {
      ...request,
      headers: { ...request.headers, 'If-Match': `"${version}"` },
    })
  }

  async unfinish(task: string, digest: string): Promise<TaskState> {
    const response = await this.once(`api/v1/${ofTask(task)}/objects/${digest}`, { method: 'DELETE' })
    return JSON.parse(await wire(response.text()))
  }

  /** Whether new objects begin with what a task learnt, or with the network as it ships. */
  useLearnt(task: string, used: boolean): Promise<TaskState> {
    return this.json(`${ofTask(task)}/${used ? 'restore' : 'reject'}`, post({}))
  }

  /** The address of a small picture of a finished object. */
  pictureOf(task: string, digest: string): string {
    return `${this.base}api/v1/${ofTask(task)}/objects/${digest}/picture`
  }

  /** The address of a picture of where in their boxes a task's objects lie, by one of its versions. */
  shapeOf(task: string, version: number): string {
    return `${this.base}api/v1/${ofTask(task)}/versions/${version}/shape`
  }

  /**
   * A file to save; `path` is what follows /api/v1/, such as "sessions/ID/labels?format=nii.gz". `at`: the number that
   * the session is to be at; ApiError 412 where it is no longer.
   */
  file(path: string, at?: number): Promise<Blob> {
    const request = at === undefined ? {} : { headers: { 'If-Match': `"${at}"` } }
    return this.patiently(async () => wire((await this.fetch(`api/v1/${path}`, request)).blob()))
  }
}

/** What a stream of an interaction ends with, once its rounds were told; LostError where it ends with nothing. */
async function followed(response: Response, { round, queued }: Acting, silence: number): Promise<Done> {
  if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
    return JSON.parse(await wire(response.text()))
  }
  let done: Done | null = null
  try {
    // Read on after `done`, to the end: to hang up in between would count as cancelling.
    for await (const { name, data } of eventsIn(response.body ?? new ReadableStream(), silence)) {
      const told = JSON.parse(data)
      if (name === 'done') done = told
      if (name === 'error') throw new ApiError(told.status, told.detail, told.status === 503 ? 5 : null, told)
      if (name === 'round') round?.(told)
      if (name === 'queued') queued?.(told.queued)
    }
  } catch (error) {
    if (!done) throw error
  }
  if (!done) throw new LostError()
  return done
}

/** Random, and to be had over plain HTTP, too, where crypto.randomUUID is not. */
export function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function post(body: object): RequestInit {
  return { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
}

function of(id: string): string {
  return `sessions/${encodeURIComponent(id)}`
}

function ofTask(name: string): string {
  return `tasks/${encodeURIComponent(name)}`
}

function query(fields: Record<string, string | undefined>): string {
  const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
  return new URLSearchParams(given).toString()
}
