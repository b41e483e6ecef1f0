// Two orders of voxels: the file's (x, y, z), which the server speaks, and the canonical one (R, A, S), which is shown.

/** A voxel or anything else with one number per axis. */
export type Vec3 = [number, number, number]

/** Half-open ranges of voxels: start <= index < stop. */
export interface Box {
  start: Vec3
  stop: Vec3
}

export type Axis = 0 | 1 | 2
export const ALL: readonly [0, 1, 2] = [0, 1, 2]

/** The box written as "40:80,52:90,12"; a single index is a plane. */
export function parseBox(text: string): Box {
  const ranges = text.split(',').map((part) => /^\s*(\d+)(?::(\d+))?\s*$/.exec(part))
  const start = ranges.map((range) => Number(range?.[1]))
  const stop = ranges.map((range, k) => (range?.[2] === undefined ? Number(start[k]) + 1 : Number(range[2])))
  if (ranges.length !== 3 || !ranges.every((_, k) => Number(start[k]) < Number(stop[k]))) {
    throw new Error(`The box "${text}" is not of the form 40:80,52:90,12 (x, y, z).`)
  }
  return { start: three((k) => Number(start[k])), stop: three((k) => Number(stop[k])) }
}

/** The box as the server writes it. */
export function formatBox({ start, stop }: Box): string {
  return ALL.map((k) => (stop[k] - start[k] === 1 ? `${start[k]}` : `${start[k]}:${stop[k]}`)).join(',')
}

/** The way between an image's file order and its canonical order. */
export class Axes {
  /** Voxels along the canonical axes. */
  readonly shape: Vec3
  readonly #axis: [Axis, Axis, Axis] // the file axis that each canonical axis runs along
  readonly #against: [boolean, boolean, boolean] // and whether it runs against it

  /**
   * `shape` is the file's. `axes` are signed, one-based file axes: +(a + 1) where a canonical axis runs along file axis
   * a, -(a + 1) where it runs against it.
   */
  constructor(shape: Vec3, axes: Vec3) {
    const sorted = axes.map(Math.abs).sort()
    if (sorted.join() !== '1,2,3') throw new Error(`The axes are ${axes.join(', ')}; they must be ±1, ±2, ±3.`)
    this.#axis = ALL.map((k) => Math.abs(axes[k]) - 1) as [Axis, Axis, Axis]
    this.#against = ALL.map((k) => axes[k] < 0) as [boolean, boolean, boolean]
    this.shape = three((k) => shape[this.#axis[k]])
  }

  /** A file voxel's canonical coordinates; voxel centres are at integers, so that a flip is n - 1 - v. */
  toCanonical(v: Vec3): Vec3 {
    return three((k) => (this.#against[k] ? this.shape[k] - 1 - v[this.#axis[k]] : v[this.#axis[k]]))
  }

  /** A canonical voxel's coordinates in the file. */
  toFile(v: Vec3): Vec3 {
    return this.#inFileOrder((k) => (this.#against[k] ? this.shape[k] - 1 - v[k] : v[k]))
  }

  /** The number of a slice as the file counts them, from 1; `k`: the canonical axis across it, `index`: along it. */
  numberOf(k: Axis, index: number): number {
    return 1 + (this.#against[k] ? this.shape[k] - 1 - index : index)
  }

  boxToCanonical({ start, stop }: Box): Box {
    return {
      start: three((k) => (this.#against[k] ? this.shape[k] - stop[this.#axis[k]] : start[this.#axis[k]])),
      stop: three((k) => (this.#against[k] ? this.shape[k] - start[this.#axis[k]] : stop[this.#axis[k]])),
    }
  }

  boxToFile({ start, stop }: Box): Box {
    return {
      start: this.#inFileOrder((k) => (this.#against[k] ? this.shape[k] - stop[k] : start[k])),
      stop: this.#inFileOrder((k) => (this.#against[k] ? this.shape[k] - start[k] : stop[k])),
    }
  }

  /** Voxel spacing along the canonical axes, in mm. */
  spacing(fileSpacing: Vec3): Vec3 {
    return three((k) => fileSpacing[this.#axis[k]])
  }

  /**
   * Where an array that fills a file-order box (C order, z runs fastest) holds the voxel at (i, j, k), counted from the
   * first corner of the canonical box: at offset + i * step[0] + j * step[1] + k * step[2].
   */
  strides({ start, stop }: Box): { offset: number; step: Vec3 } {
    const size = three((a) => stop[a] - start[a])
    const along: Vec3 = [size[1] * size[2], size[2], 1]
    const step = three((k) => (this.#against[k] ? -along[this.#axis[k]] : along[this.#axis[k]]))
    const offset = ALL.reduce((sum: number, k) => sum + (step[k] < 0 ? (1 - size[this.#axis[k]]) * step[k] : 0), 0)
    return { offset, step }
  }

  #inFileOrder(of: (k: Axis) => number): Vec3 {
    const values: Vec3 = [0, 0, 0]
    for (const k of ALL) values[this.#axis[k]] = of(k)
    return values
  }
}

function three(of: (k: Axis) => number): Vec3 {
  return [of(0), of(1), of(2)]
}
