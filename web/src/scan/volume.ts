// A scan as the page holds it: its numbers in canonical order (R, A, S; the first axis runs fastest), and slices of it.

import type { DisplayInfo } from '../server/types.ts'
import type { Vec3 } from './axes.ts'
import { greyOf, pixelOf } from './shading.ts'

export type Numbers = Uint8Array | Int16Array | Uint16Array | Int32Array | Float32Array
/** 0 sagittal, 1 coronal, 2 axial: the canonical axis that a slice is perpendicular to. */
export type Plane = 0 | 1 | 2
/** Grey levels from black to white; `sigmoid`: along a curve that is steep in the middle, not a straight line. */
export interface Window {
  low: number
  high: number
  sigmoid?: boolean
}

const HEADER = 352
const TYPES: Record<number, new (buffer: ArrayBuffer, offset: number, length: number) => Numbers> = {
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
const SAMPLES = 200_000 // voxels that are looked at for the window

/** A volume and its geometry; `spacing` in mm. */
export class Volume {
  readonly shape: Vec3
  readonly spacing: Vec3
  /** One number a voxel; of a colour image its luminance. */
  readonly data: Numbers
  /** Red, green and blue of every voxel, where it has colours. */
  readonly colours: Uint8Array | null
  readonly range: Window
  readonly auto: Window
  private shaded: { key: string; pixel: (place: number) => number } | null = null

  /**
   * The NIfTI file that the server makes of an image: one volume, little-endian, no scaling; `display`: what its DICOM
   * headers say of how it is to be seen.
   */
  constructor(
    file: ArrayBuffer,
    readonly display: DisplayInfo | null = null,
  ) {
    const view = new DataView(file)
    const kind = view.getInt16(70, true)
    const make = kind === RGB24 ? Uint8Array : TYPES[kind]
    if (view.byteLength < HEADER || view.getInt32(0, true) !== 348 || !make)
      throw new Error('The scan arrived damaged.')
    this.shape = three((k) => view.getInt16(42 + 2 * k, true))
    this.spacing = three((k) => view.getFloat32(80 + 4 * k, true))
    const [x, y, z] = this.shape
    const voxels = x * y * z
    this.colours = kind === RGB24 ? new Uint8Array(file, HEADER, 3 * voxels) : null
    this.data = this.colours ? luminance(this.colours) : new make(file, HEADER, voxels)
    const sorted = this.sampled()
    const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? 0
    this.range = extremes(this.data)
    this.auto = this.colours
      ? { low: 0, high: 255 }
      : (spread(at(0.02), at(0.995)) ?? spread(at(0), at(1)) ?? { low: at(0), high: at(0) + 1 })
  }

  /** Whether its numbers are Hounsfield units, or look like them where nothing says what they are. */
  get isCT(): boolean {
    const { unit, modality } = this.display ?? { unit: null, modality: null }
    if (unit || modality) return unit === 'HU'
    return (
      !this.colours &&
      this.range.low <= -200 &&
      this.range.low >= -3100 &&
      this.range.high > 200 &&
      this.range.high < 32000
    )
  }

  /** The unit of its numbers, where one is known. */
  get unit(): string | null {
    return this.display?.unit ?? (this.isCT ? 'HU' : null)
  }

  /** The window that its file names. */
  get own(): Window | null {
    const { low = null, high = null, function: curve } = this.display ?? {}
    if (low === null || high === null || high <= low || this.colours) return null
    return curve === 'SIGMOID' ? { low, high, sigmoid: true } : { low, high }
  }

  /** What a scan is shown in first: as its file says, soft tissue in CT, else what most of its grey levels lie in. */
  get first(): Window {
    return this.own ?? (this.isCT ? SOFT_TISSUE : (this.uptake(FIRST_UPTAKE) ?? this.auto))
  }

  /** Grey levels up to a standardized uptake value; null where it cannot be computed. */
  uptake(most: number): Window | null {
    const suv = this.display?.suv
    return suv ? { low: 0, high: most / suv } : null
  }

  at([x, y, z]: Vec3): number {
    return this.data[x + this.shape[0] * (y + this.shape[1] * z)] ?? 0
  }

  /** Red, green and blue of a voxel; null in a grey scan. */
  colourAt([x, y, z]: Vec3): [number, number, number] | null {
    const k = 3 * (x + this.shape[0] * (y + this.shape[1] * z))
    const { colours } = this
    return colours && [colours[k] ?? 0, colours[k + 1] ?? 0, colours[k + 2] ?? 0]
  }

  /**
   * One slice as a picture, as the radiologist sees it: the patient's right on the left, front and head up; in a
   * sagittal slice the front is on the left. Both axes of a picture therefore run against the canonical ones.
   */
  picture(plane: Plane, index: number, window: Window, inverted = false): ImageData {
    const [u, v] = across(plane)
    const strides: Vec3 = [1, this.shape[0], this.shape[0] * this.shape[1]]
    const width = this.shape[u]
    const height = this.shape[v]
    const picture = new ImageData(width, height)
    const pixels = new Uint32Array(picture.data.buffer)
    const pixel = this.pixel(window, inverted)
    const step = strides[u]
    let to = 0
    for (let j = height - 1; j >= 0; j--) {
      let from = index * strides[plane] + j * strides[v] + (width - 1) * step
      for (let i = 0; i < width; i++, from -= step) pixels[to++] = pixel(from)
    }
    return picture
  }

  /** What a canvas shows of the voxel at a place of the data; made once for a window. */
  private pixel(window: Window, inverted: boolean): (place: number) => number {
    const key = `${window.low} ${window.high} ${window.sigmoid} ${inverted}`
    if (this.shaded?.key !== key) {
      const pixel = this.colours ? colourOf(this.colours, window, inverted) : pixelOf(this.data, window, inverted)
      this.shaded = { key, pixel }
    }
    return this.shaded.pixel
  }

  private sampled(): Float64Array {
    const step = Math.max(1, Math.floor(this.data.length / SAMPLES)) | 1
    return Float64Array.from({ length: Math.ceil(this.data.length / step) }, (_, k) => this.data[k * step] ?? 0).sort()
  }
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

/** A pixel of a colour image. */
function colourOf(colours: Uint8Array, window: Window, inverted: boolean): (place: number) => number {
  const shade = Uint8Array.from({ length: 256 }, (_, value) => greyOf(window, inverted)(value))
  const of = (place: number) => shade[colours[place] ?? 0] ?? 0
  return (place) => (0xff000000 | (of(3 * place + 2) << 16) | (of(3 * place + 1) << 8) | of(3 * place)) >>> 0
}

/** Of red, green and blue, as Rec. 601 weighs them. */
function luminance(colours: Uint8Array): Uint8Array {
  const grey = new Uint8Array(colours.length / 3)
  for (let k = 0, c = 0; k < grey.length; k++, c += 3) {
    grey[k] = Math.round(0.299 * (colours[c] ?? 0) + 0.587 * (colours[c + 1] ?? 0) + 0.114 * (colours[c + 2] ?? 0))
  }
  return grey
}

function extremes(data: Numbers): Window {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const value of data) {
    if (value < low) low = value
    if (value > high) high = value
  }
  return { low, high }
}

function spread(low: number, high: number): Window | null {
  return high > low ? { low, high } : null
}

function three(of: (k: number) => number): Vec3 {
  return [of(0), of(1), of(2)]
}
