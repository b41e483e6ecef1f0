// Beside the page, so that it never waits: makes surfaces of masks, and pictures of surfaces.

import { type Surface, surfaceOf, type Triple } from './nets.ts'
import { basis, type Camera, drawn } from './raster.ts'

/** A mask or a piece of one, as the server sent it: `offset` and `step` say where `data` has canonical voxels. */
export interface Piece {
  start: Triple
  stop: Triple
  offset: number
  step: Triple
  data: Uint8Array | Uint16Array | Float32Array
}

export interface Asked {
  /** What the surface is of; the same key is the same surface. */
  key: string
  colour: Triple
  /** Left out where the last list had the key. */
  pieces?: Piece[]
}

/** What the page hears: a picture, or that objects are to be seen in the last one. */
export type News = { picture: ImageBitmap } | { number: number; keys: string[] }

export type Order =
  | { kind: 'scan'; spacing: Triple }
  | { kind: 'show'; objects: Asked[]; number: number }
  | { kind: 'look'; turn: number; tilt: number; zoom: number; width: number; height: number; moving: boolean }

const MOST = 5_000_000 // voxels of which a surface is made; of more, every second or third is taken
const FINE = 3_000_000 // pixels that are drawn twice as fine as the screen
const AXES: [string, Triple][] = [
  ['L', [-1, 0, 0]],
  ['A', [0, 1, 0]],
  ['S', [0, 0, 1]],
]

let spacing: Triple = [1, 1, 1]
let shown: { key: string; colour: Triple; surface: Surface }[] = []
let bounds: { centre: Triple; across: number } | null = null // of all that is shown
let view = { turn: 0, tilt: 0, zoom: 1, width: 0, height: 0, moving: false }
let latest = 0
let pending = false

self.onmessage = ({ data }: MessageEvent<Order>) => {
  if (data.kind === 'scan') {
    spacing = data.spacing
  } else if (data.kind === 'look') {
    view = data
    draw()
  } else {
    latest = data.number
    void show(data.objects, data.number)
  }
}

/** Surfaces of a list of objects; given up where a newer list comes meanwhile. */
async function show(objects: Asked[], number: number): Promise<void> {
  const before = new Map(shown.map((one) => [one.key, one.surface]))
  const next: typeof shown = []
  for (const { key, colour, pieces } of objects) {
    const surface = before.get(key) ?? (pieces && made(pieces))
    if (surface) {
      before.set(key, surface)
      next.push({ key, colour, surface })
    }
    await new Promise((resume) => setTimeout(resume)) // hear what came meanwhile
    if (number !== latest) {
      keep([...shown, ...next.filter((one) => !shown.some((old) => old.key === one.key))])
      return
    }
  }
  keep(next)
  paint()
  tell({ number, keys: shown.map(({ key }) => key) })
}

function keep(list: typeof shown): void {
  shown = list
  bounds = boundsOf(list.map(({ surface }) => surface))
}

/** One surface around all pieces of an object. */
function made(pieces: Piece[]): Surface {
  const low = [0, 1, 2].map((k) => Math.min(...pieces.map(({ start }) => start[k] ?? 0))) as Triple
  const high = [0, 1, 2].map((k) => Math.max(...pieces.map(({ stop }) => stop[k] ?? 0))) as Triple
  const size = [0, 1, 2].map((k) => (high[k] ?? 0) - (low[k] ?? 0)) as Triple
  const every = Math.ceil(Math.cbrt((size[0] * size[1] * size[2]) / MOST))
  const step = size.map((n) => Math.min(n, every) || 1) as Triple
  const shape = size.map((n, k) => Math.ceil(n / (step[k] ?? 1))) as Triple
  const mask = new Uint8Array(shape[0] * shape[1] * shape[2])
  for (const piece of pieces) fill(mask, shape, step, low, piece)
  const wide = spacing.map((mm, k) => mm * (step[k] ?? 1)) as Triple
  return surfaceOf(mask, shape, wide, low.map((voxel, k) => voxel * (spacing[k] ?? 1)) as Triple)
}

function fill(mask: Uint8Array, shape: Triple, every: Triple, low: Triple, piece: Piece): void {
  const { start, stop, offset, step, data } = piece
  const first = (k: 0 | 1 | 2) => low[k] + every[k] * Math.ceil((start[k] - low[k]) / every[k])
  for (let z = first(2); z < stop[2]; z += every[2]) {
    for (let y = first(1); y < stop[1]; y += every[1]) {
      let to = shape[0] * ((y - low[1]) / every[1] + shape[1] * ((z - low[2]) / every[2]))
      let from = offset + (y - start[1]) * step[1] + (z - start[2]) * step[2]
      let x = first(0)
      to += (x - low[0]) / every[0]
      from += (x - start[0]) * step[0]
      for (; x < stop[0]; x += every[0], to++, from += every[0] * step[0]) if (data[from]) mask[to] = 1
    }
  }
}

/** Once for all that was asked meanwhile. */
function draw(): void {
  if (pending) return
  pending = true
  setTimeout(paint)
}

function paint(): void {
  pending = false
  const { width, height, moving } = view
  if (!width || !height) return
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d', { alpha: false })
  if (!context) return
  const fine = !moving && 4 * width * height <= FINE ? 2 : 1
  const camera = { ...looked(), turn: view.turn, tilt: view.tilt }
  const near = { ...camera, scale: camera.scale * fine }
  const pixels = drawn(
    shown.map(({ surface, colour }) => ({ surface, colour })),
    near,
    width * fine,
    height * fine,
    !moving,
  )
  const picture = new OffscreenCanvas(width * fine, height * fine)
  picture.getContext('2d')?.putImageData(new ImageData(pixels, width * fine, height * fine), 0, 0)
  const ground = context.createRadialGradient(width / 2, height * 0.42, 0, width / 2, height / 2, 0.75 * width)
  ground.addColorStop(0, '#1b2027')
  ground.addColorStop(1, '#07090b')
  context.fillStyle = ground
  context.fillRect(0, 0, width, height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(picture, 0, 0, width, height)
  if (shown.length) letters(context, camera, height)
  const made = canvas.transferToImageBitmap() // a canvas of the page is not drawn on from here in every browser
  tell({ picture: made }, [made])
}

function tell(news: News, transfer: Transferable[] = []): void {
  self.postMessage(news, { transfer })
}

/** All of it in the middle, with some room. */
function looked(): Omit<Camera, 'turn' | 'tilt'> {
  if (!bounds) return { scale: 1, centre: [0, 0, 0] }
  const { centre, across } = bounds
  return { scale: (view.zoom * 0.98 * Math.min(view.width, view.height)) / across, centre }
}

/** The middle of the box around surfaces, and its diagonal; null where there is nothing. */
function boundsOf(surfaces: Surface[]): typeof bounds {
  const low = [Infinity, Infinity, Infinity]
  const high = [-Infinity, -Infinity, -Infinity]
  for (const { places } of surfaces) {
    for (let at = 0; at < places.length; at++) {
      const [k, place] = [at % 3, places[at] ?? 0]
      if (place < (low[k] ?? 0)) low[k] = place
      if (place > (high[k] ?? 0)) high[k] = place
    }
  }
  if (!Number.isFinite(low[0])) return null
  const centre = low.map((value, k) => (value + (high[k] ?? 0)) / 2) as Triple
  return { centre, across: Math.hypot(...low.map((value, k) => (high[k] ?? 0) - value)) || 1 }
}

/** Where the patient's left, front and head are. */
function letters(context: OffscreenCanvasRenderingContext2D, camera: Camera, height: number): void {
  const [right, up, near] = basis(camera)
  const size = Math.max(20, Math.min(30, height / 14))
  const [x, y] = [1.6 * size, height - 1.6 * size]
  context.font = `600 ${Math.round(size * 0.45)}px system-ui, sans-serif`
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  context.lineWidth = 1.5
  for (const [letter, axis] of AXES) {
    const of = (row: Triple) => row[0] * axis[0] + row[1] * axis[1] + row[2] * axis[2]
    const [dx, dy] = [size * of(right), -size * of(up)]
    context.globalAlpha = 0.55 + 0.45 * Math.max(0, of(near))
    context.strokeStyle = context.fillStyle = '#c9d3de'
    context.beginPath()
    context.moveTo(x, y)
    context.lineTo(x + 0.7 * dx, y + 0.7 * dy)
    context.stroke()
    if (Math.hypot(dx, dy) > 0.35 * size) context.fillText(letter, x + 1.05 * dx, y + 1.05 * dy)
  }
  context.globalAlpha = 1
}
