// The surface of a mask: naive surface nets, smoothed without shrinking (Taubin 1995), with normals.

export type Triple = [number, number, number]

/** `places` and `normals`: x, y, z of each vertex; `quads`: four vertices each, counter-clockwise from outside. */
export interface Surface {
  places: Float32Array
  normals: Float32Array
  quads: Uint32Array
}

const ROUNDS = 24 // of smoothing
const IN = 0.6
const OUT = -0.625

/**
 * The surface around what is not 0 in `mask`, whose first axis runs fastest; `spacing`: mm; `origin`: mm of voxel 0.
 * Empty where there is nothing.
 */
export function surfaceOf(mask: Uint8Array, shape: Triple, spacing: Triple, origin: Triple): Surface {
  const { places, quads } = nets(padded(mask, shape), [shape[0] + 2, shape[1] + 2, shape[2] + 2])
  smooth(places, quads)
  for (let at = 0; at < places.length; at += 3) {
    for (let k = 0; k < 3; k++) {
      // a voxel of rim was added before the first
      places[at + k] = ((places[at + k] ?? 0) - 1) * (spacing[k] ?? 1) + (origin[k] ?? 0)
    }
  }
  return { places, normals: normalsOf(places, quads), quads }
}

function padded(mask: Uint8Array, [nx, ny, nz]: Triple): Uint8Array {
  const [px, py] = [nx + 2, ny + 2]
  const wide = new Uint8Array(px * py * (nz + 2))
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const from = nx * (y + ny * z)
      wide.set(mask.subarray(from, from + nx), 1 + px * (y + 1 + py * (z + 1)))
    }
  }
  return wide
}

/** A vertex in every cell of eight voxels that are not all alike, a quad across every pair of unlike neighbours. */
function nets(m: Uint8Array, [px, py, pz]: Triple): { places: Float32Array; quads: Uint32Array } {
  const places: number[] = []
  const quads: number[] = []
  const layer = px * py
  const cells = [new Int32Array(layer), new Int32Array(layer)] // vertices of this layer of cells and the one before
  let count = 0
  for (let z = 0; z < pz - 1; z++) {
    const here = cells[z & 1] as Int32Array
    const below = cells[1 - (z & 1)] as Int32Array
    for (let y = 0; y < py - 1; y++) {
      let at = px * (y + py * z)
      for (let x = 0; x < px - 1; x++, at++) {
        const a = m[at] ? 1 : 0
        const b = m[at + 1] ? 1 : 0
        const c = m[at + px] ? 1 : 0
        const d = m[at + px + 1] ? 1 : 0
        const e = m[at + layer] ? 1 : 0
        const f = m[at + layer + 1] ? 1 : 0
        const g = m[at + layer + px] ? 1 : 0
        const h = m[at + layer + px + 1] ? 1 : 0
        const sum = a + b + c + d + e + f + g + h
        if (sum === 0 || sum === 8) continue
        // Edges between unlike voxels, along x, y and z: their middles' mean.
        const [x0, x1, x2, x3] = [a ^ b, c ^ d, e ^ f, g ^ h]
        const [y0, y1, y2, y3] = [a ^ c, b ^ d, e ^ g, f ^ h]
        const [z0, z1, z2, z3] = [a ^ e, b ^ f, c ^ g, d ^ h]
        const alongX = x0 + x1 + x2 + x3
        const alongY = y0 + y1 + y2 + y3
        const alongZ = z0 + z1 + z2 + z3
        const edges = alongX + alongY + alongZ
        places.push(
          x + (alongX / 2 + y1 + y3 + z1 + z3) / edges,
          y + (alongY / 2 + x1 + x3 + z2 + z3) / edges,
          z + (alongZ / 2 + x2 + x3 + y2 + y3) / edges,
        )
        const cell = x + px * y
        here[cell] = count
        if (a !== b && y > 0 && z > 0) {
          quad(quads, a === 1, below[cell - px], below[cell], count, here[cell - px])
        }
        if (a !== c && x > 0 && z > 0) {
          quad(quads, a === 0, below[cell - 1], below[cell], count, here[cell - 1])
        }
        if (a !== e && x > 0 && y > 0) {
          quad(quads, a === 1, here[cell - px - 1], here[cell - px], count, here[cell - 1])
        }
        count++
      }
    }
  }
  return { places: new Float32Array(places), quads: new Uint32Array(quads) }
}

function quad(quads: number[], along: boolean, a = 0, b = 0, c = 0, d = 0): void {
  if (along) quads.push(a, b, c, d)
  else quads.push(d, c, b, a)
}

/** Every vertex to the mean of its neighbours, and a little farther back again: steps go, the volume stays. */
function smooth(places: Float32Array, quads: Uint32Array): void {
  const sums = new Float32Array(places.length)
  const counts = new Float32Array(places.length / 3)
  for (let k = 0; k < quads.length; k++) counts[quads[k] ?? 0] = (counts[quads[k] ?? 0] ?? 0) + 2
  for (let round = 0; round < 2 * ROUNDS; round++) {
    sums.fill(0)
    for (let k = 0; k < quads.length; k += 4) {
      let from = 3 * (quads[k + 3] ?? 0)
      for (let i = 0; i < 4; i++) {
        const to = 3 * (quads[k + i] ?? 0)
        for (let axis = 0; axis < 3; axis++) {
          sums[to + axis] = (sums[to + axis] ?? 0) + (places[from + axis] ?? 0)
          sums[from + axis] = (sums[from + axis] ?? 0) + (places[to + axis] ?? 0)
        }
        from = to
      }
    }
    const share = round % 2 ? OUT : IN
    for (let at = 0; at < places.length; at++) {
      const place = places[at] ?? 0
      places[at] = place + share * ((sums[at] ?? 0) / (counts[(at / 3) | 0] || 1) - place)
    }
  }
}

function normalsOf(places: Float32Array, quads: Uint32Array): Float32Array {
  const normals = new Float32Array(places.length)
  const p = (vertex: number, axis: number) => places[3 * (quads[vertex] ?? 0) + axis] ?? 0
  for (let k = 0; k < quads.length; k += 4) {
    const [ax, ay, az] = [p(k + 2, 0) - p(k, 0), p(k + 2, 1) - p(k, 1), p(k + 2, 2) - p(k, 2)]
    const [bx, by, bz] = [p(k + 3, 0) - p(k + 1, 0), p(k + 3, 1) - p(k + 1, 1), p(k + 3, 2) - p(k + 1, 2)]
    const [nx, ny, nz] = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
    for (let i = 0; i < 4; i++) {
      const at = 3 * (quads[k + i] ?? 0)
      normals[at] = (normals[at] ?? 0) + nx
      normals[at + 1] = (normals[at + 1] ?? 0) + ny
      normals[at + 2] = (normals[at + 2] ?? 0) + nz
    }
  }
  for (let at = 0; at < normals.length; at += 3) {
    const length = Math.hypot(normals[at] ?? 0, normals[at + 1] ?? 0, normals[at + 2] ?? 0) || 1
    for (let k = at; k < at + 3; k++) normals[k] = (normals[k] ?? 0) / length
  }
  return normals
}
