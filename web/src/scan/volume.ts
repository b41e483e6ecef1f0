// A scan as the page holds it: its numbers in canonical order (R, A, S; the first axis runs fastest), and slices of it.

import type { DisplayInfo } from '../server/types.ts'
import { ALL, type Axis, type Box, type Vec3 } from './axes.ts'
import { colourPixelOf, pixelOf } from './shading.ts'

export type Numbers = Uint8Array | Int16Array | Uint16Array | Int32Array | Float32Array
/** 0 sagittal, 1 coronal, 2 axial: the canonical axis that a slice is perpendicular to. */
export type Plane = 0 | 1 | 2
/**
 * Grey levels from black to white, along a straight line; `sigmoid`: along a curve that is steep in the middle;
 * `listed`: as the table of the file says, stretched between the two.
 */
export interface Window {
  low: number
  high: number
  sigmoid?: boolean
  listed?: boolean
}

const HEADER = 352
const TYPES: Record<
  number,
  { BYTES_PER_ELEMENT: number; new (buffer: ArrayBuffer, offset: number, length: number): Numbers }
> = {
  2: Uint8Array,
  4: Int16Array,
  8: Int32Array,
  16: Float32Array,
  512: Uint16Array,
}
const RGB24 = 128
const SOFT_TISSUE: Window = { low: -160, high: 240 } // Hounsfield units
const UPTAKE = [5, 10, 20] // SUV that is black, where grey is inverted as in PET
const FIRST_UPTAKE = 10
const SLAB = 1 << 22 // voxels that come together, about
const MISSING = 0xff2e2620 // what is not here yet: a blue that no grey level is

/** A part of a scan: its numbers or, three of them a voxel, colours; and the voxels that they are of. */
export interface Part {
  box: Box
  data: Numbers
  coloured: boolean
}

/** What a NIfTI file holds that the server makes of a part: little-endian, no scaling. */
export function partOf(file: ArrayBuffer, box: Box): Part {
  const view = new DataView(file)
  const kind = view.byteLength < HEADER || view.getInt32(0, true) !== 348 ? 0 : view.getInt16(70, true)
  const coloured = kind === RGB24
  const make = coloured ? Uint8Array : TYPES[kind]
  const size = three((k) => box.stop[k] - box.start[k])
  const count = size[0] * size[1] * size[2] * (coloured ? 3 : 1)
  if (!make || view.byteLength !== HEADER + count * make.BYTES_PER_ELEMENT) throw new Error('The scan arrived damaged.')
  return { box, data: new make(file, HEADER, count), coloured }
}

/** A volume that comes part by part: slabs of axial slices and, before these, single slices. `spacing` in mm. */
export class Volume {
  readonly shape: Vec3
  readonly spacing: Vec3
  readonly range: Window
  readonly auto: Window
  /** How many parts are here: what was drawn when there were fewer may have lacked some. */
  arrived = 0
  private readonly coloured: boolean
  private readonly depth: number
  private readonly slabs: (Part | null)[]
  private readonly asked = new Set<number>()
  private slices: Part[] = []
  private shaded: { key: string; pixel: (data: Numbers, place: number) => number } | null = null

  /** `display`: its levels, and what its DICOM headers say of how it is to be seen. */
  constructor(
    { shape, spacing, coloured }: { shape: Vec3; spacing: Vec3; coloured: boolean },
    readonly display: DisplayInfo,
  ) {
    this.shape = shape
    this.spacing = spacing
    this.coloured = coloured
    this.depth = Math.max(1, Math.floor(SLAB / (shape[0] * shape[1])))
    this.slabs = Array.from({ length: Math.ceil(shape[2] / this.depth) }, () => null)
    const [low, high] = display.range
    const [dark, bright] = display.most
    this.range = { low, high }
    this.auto = coloured ? { low: 0, high: 255 } : (spread(dark, bright) ?? spread(low, high) ?? { low, high: low + 1 })
  }

  // ---- how it comes

  /** Which share of it is here, 0 to 1. */
  get share(): number {
    return this.slabs.filter((slab) => slab).length / this.slabs.length
  }

  /** What has to be here before the slices through a voxel can be seen. */
  through(voxel: Vec3): Box[] {
    const slices = ALL.map((plane) => ({
      start: three((k) => (k === plane ? voxel[k] : 0)),
      stop: three((k) => (k === plane ? voxel[k] + 1 : this.shape[k])),
    }))
    if (this.slabs.length > 1) return slices
    this.asked.add(0)
    return [this.slab(0)]
  }

  /** The part nearest to a voxel that was not given out yet, to be brought; null after the last. */
  next([, , z]: Vec3): Box | null {
    const far = (k: number) => Math.abs((k + 0.5) * this.depth - z - 0.5)
    const left = [...this.slabs.keys()].filter((k) => !this.asked.has(k)).sort((a, b) => far(a) - far(b))
    if (left[0] === undefined) return null
    this.asked.add(left[0])
    return this.slab(left[0])
  }

  take(part: Part): void {
    const { start, stop } = part.box
    const slab = Math.floor(start[2] / this.depth)
    const whole = this.slab(slab)
    if (ALL.every((k) => start[k] === whole.start[k] && stop[k] === whole.stop[k])) this.slabs[slab] = part
    else this.slices.push(part)
    this.arrived++
    if (this.share === 1) this.slices = []
  }

  private slab(k: number): Box {
    const [x, y, z] = this.shape
    return { start: [0, 0, k * this.depth], stop: [x, y, Math.min(z, (k + 1) * this.depth)] }
  }

  /** The part that holds the voxels along an axis through one of them, or that voxel alone; undefined: none yet. */
  private partWith(voxel: Vec3, along: 0 | 1 | 2 | null = null): Part | undefined {
    const holds = ({ box: { start, stop } }: Part) =>
      ALL.every((k) =>
        k === along ? start[k] === 0 && stop[k] === this.shape[k] : start[k] <= voxel[k] && voxel[k] < stop[k],
      )
    return this.slabs[Math.floor(voxel[2] / this.depth)] ?? this.slices.find(holds)
  }

  // ---- what it is

  /** Whether its numbers are Hounsfield units, or look like them where nothing says what they are. */
  get isCT(): boolean {
    const { unit, modality } = this.display
    if (unit || modality) return unit === 'HU'
    return (
      !this.coloured &&
      this.range.low <= -200 &&
      this.range.low >= -3100 &&
      this.range.high > 200 &&
      this.range.high < 32000
    )
  }

  /** The unit of its numbers, where one is known. */
  get unit(): string | null {
    return this.display.unit ?? (this.isCT ? 'HU' : null)
  }

  /** The window that its file names. */
  get own(): Window | null {
    const { low, high, function: curve, table } = this.display
    if (low === null || high === null || high <= low || this.coloured) return null
    if (curve === 'TABLE' && table) return { low, high, listed: true }
    return curve === 'SIGMOID' ? { low, high, sigmoid: true } : { low, high }
  }

  /** What a scan is shown in first: as its file says, soft tissue in CT, else what most of its grey levels lie in. */
  get first(): Window {
    return this.own ?? (this.isCT ? SOFT_TISSUE : (this.uptake(FIRST_UPTAKE) ?? this.auto))
  }

  /** Grey levels up to a standardized uptake value; null where it cannot be computed. */
  uptake(most: number): Window | null {
    const suv = this.display.suv
    return suv ? { low: 0, high: most / suv } : null
  }

  /** The number of a voxel; null where it is not here yet. */
  at(voxel: Vec3): number | null {
    const part = this.partWith(voxel)
    return part ? (part.data[placeOf(part, voxel)] ?? 0) : null
  }

  /** Red, green and blue of a voxel; null in a grey scan, and where it is not here yet. */
  colourAt(voxel: Vec3): [number, number, number] | null {
    const part = this.coloured ? this.partWith(voxel) : undefined
    if (!part) return null
    const k = 3 * placeOf(part, voxel)
    return [part.data[k] ?? 0, part.data[k + 1] ?? 0, part.data[k + 2] ?? 0]
  }

  /**
   * One slice as a picture, as the radiologist sees it: the patient's right on the left, front and head up; in a
   * sagittal slice the front is on the left. Both axes of a picture therefore run against the canonical ones.
   */
  picture(plane: Plane, index: number, window: Window, inverted = false): ImageData {
    const [u, v] = across(plane)
    const width = this.shape[u]
    const height = this.shape[v]
    const picture = new ImageData(width, height)
    const pixels = new Uint32Array(picture.data.buffer)
    const shade = this.pixel(window, inverted)
    let to = 0
    for (let j = height - 1; j >= 0; j--) {
      const first = three((k) => (k === plane ? index : k === v ? j : 0))
      const part = this.partWith(first, u)
      const end = to + width
      if (!part) {
        pixels.fill(MISSING, to, end)
        to = end
        continue
      }
      const { data } = part
      const step = u === 0 ? 1 : part.box.stop[0] - part.box.start[0]
      for (let from = placeOf(part, first) + (width - 1) * step; to < end; from -= step)
        pixels[to++] = shade(data, from)
    }
    return picture
  }

  /** What a canvas shows of a voxel, by where it is in the numbers of a part; made once for a window. */
  private pixel(window: Window, inverted: boolean): (data: Numbers, place: number) => number {
    const key = `${window.low} ${window.high} ${window.sigmoid} ${window.listed} ${inverted}`
    if (this.shaded?.key !== key) {
      const part = this.slabs.find((slab) => slab) ?? this.slices[0]
      const make =
        part && !this.coloured
          ? pixelOf(part.data, window, inverted, this.display.table)
          : colourPixelOf(window, inverted)
      if (!part) return make // of which nothing is drawn
      this.shaded = { key, pixel: make }
    }
    return this.shaded.pixel
  }
}

/** Where a part holds a voxel. */
function placeOf({ box: { start, stop } }: Part, [x, y, z]: Vec3): number {
  return x - start[0] + (stop[0] - start[0]) * (y - start[1] + (stop[1] - start[1]) * (z - start[2]))
}

/** The two canonical axes that a slice shows, across and down. */
export function across(plane: Plane): [0 | 1 | 2, 0 | 1 | 2] {
  return plane === 2 ? [0, 1] : plane === 1 ? [0, 2] : [1, 2]
}

export interface Preset {
  name: string
  window: Window
}

/** Windows to choose from; those of CT are in Hounsfield units. */
export function presets(volume: Volume): Preset[] {
  const centred = (name: string, centre: number, width: number) => ({
    name,
    window: { low: centre - width / 2, high: centre + width / 2 },
  })
  const { own } = volume
  const always = [
    ...(own ? [{ name: 'From the file', window: own }] : []),
    { name: 'Auto', window: volume.auto },
    { name: 'Full range', window: spread(volume.range.low, volume.range.high) ?? volume.auto },
  ]
  const uptakes = UPTAKE.map((most) => ({ name: `SUV 0 to ${most}`, window: volume.uptake(most) }))
  if (!volume.isCT) return [...always, ...uptakes.filter((one): one is Preset => one.window !== null)]
  return [
    ...always,
    { name: 'Soft tissue', window: SOFT_TISSUE },
    centred('Liver', 70, 150),
    centred('Lung', -600, 1500),
    centred('Bone', 400, 1800),
    centred('Brain', 40, 80),
  ]
}

function spread(low: number, high: number): Window | null {
  return high > low ? { low, high } : null
}

function three(of: (k: Axis) => number): Vec3 {
  return [of(0), of(1), of(2)]
}
