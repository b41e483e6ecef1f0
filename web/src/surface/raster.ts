// Surfaces as a picture, drawn by the CPU: a depth buffer, soft light from the upper left, corners a little darker.

import type { Surface, Triple } from './nets.ts'

export interface Body {
  surface: Surface
  colour: Triple
}

/** `turn`: radians around the patient's axis, `tilt`: from above; `scale`: pixels per mm, around `centre` in mm. */
export interface Camera {
  turn: number
  tilt: number
  scale: number
  centre: Triple
}

const KEY: Triple = [-0.42, 0.52, 0.744] // where the light comes from: left, above, in front
const FILL: Triple = [0.75, -0.1, 0.65]
const NEAR = [3, 7] // pixels around one that may shade it

/** Right, up and towards the viewer, as rows over (R, A, S); not turned, the patient is seen from the front. */
export function basis({ turn, tilt }: Camera): [Triple, Triple, Triple] {
  const [st, ct, sp, cp] = [Math.sin(turn), Math.cos(turn), Math.sin(tilt), Math.cos(tilt)]
  return [
    [-ct, -st, 0],
    [st * sp, -ct * sp, cp],
    [-st * cp, ct * cp, sp],
  ]
}

/** All bodies, `width` x `height` pixels, RGBA; what is no body is transparent. `soft`: with shade in corners. */
export function drawn(bodies: readonly Body[], camera: Camera, width: number, height: number, soft: boolean) {
  const pixels = new Uint8ClampedArray(4 * width * height)
  const depth = new Float32Array(width * height).fill(Number.NEGATIVE_INFINITY)
  for (const body of bodies) drawBody(body, camera, width, height, pixels, depth)
  if (soft) shade(pixels, depth, width, height, camera.scale)
  return pixels
}

function drawBody(
  { surface, colour }: Body,
  camera: Camera,
  width: number,
  height: number,
  pixels: Uint8ClampedArray,
  depth: Float32Array,
): void {
  const { places, normals, quads } = surface
  const [right, up, near] = basis(camera)
  const { scale, centre } = camera
  const count = places.length / 3
  const xs = new Float32Array(count)
  const ys = new Float32Array(count)
  const zs = new Float32Array(count)
  const lights = new Float32Array(count)
  const shines = new Float32Array(count)
  for (let v = 0, at = 0; v < count; v++, at += 3) {
    const [x, y, z] = [
      (places[at] ?? 0) - centre[0],
      (places[at + 1] ?? 0) - centre[1],
      (places[at + 2] ?? 0) - centre[2],
    ]
    xs[v] = width / 2 + scale * (right[0] * x + right[1] * y + right[2] * z)
    ys[v] = height / 2 - scale * (up[0] * x + up[1] * y + up[2] * z)
    zs[v] = scale * (near[0] * x + near[1] * y + near[2] * z)
    const [nx, ny, nz] = [normals[at] ?? 0, normals[at + 1] ?? 0, normals[at + 2] ?? 0]
    const over = right[0] * nx + right[1] * ny + right[2] * nz
    const above = up[0] * nx + up[1] * ny + up[2] * nz
    const front = near[0] * nx + near[1] * ny + near[2] * nz
    const key = Math.max(0, (over * KEY[0] + above * KEY[1] + front * KEY[2] + 0.25) / 1.25)
    const fill = Math.max(0, over * FILL[0] + above * FILL[1] + front * FILL[2])
    lights[v] = (0.27 + 0.1 * above + 0.68 * key + 0.2 * fill) * (0.7 + 0.3 * Math.max(0, front))
    const half = Math.max(0, over * -0.23 + above * 0.28 + front * 0.93)
    shines[v] = 46 * half ** 28
  }
  const tint = colour
  const triangle = (a: number, b: number, c: number) => {
    const [ax, ay, bx, by] = [xs[a] ?? 0, ys[a] ?? 0, xs[b] ?? 0, ys[b] ?? 0]
    const [cx, cy] = [xs[c] ?? 0, ys[c] ?? 0]
    const area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if (area >= 0) return // seen from behind; rows run downwards
    const left = Math.max(0, Math.ceil(Math.min(ax, bx, cx) - 0.5))
    const last = Math.min(width - 1, Math.floor(Math.max(ax, bx, cx) - 0.5))
    const top = Math.max(0, Math.ceil(Math.min(ay, by, cy) - 0.5))
    const bottom = Math.min(height - 1, Math.floor(Math.max(ay, by, cy) - 0.5))
    const inverse = 1 / area
    for (let j = top; j <= bottom; j++) {
      const y = j + 0.5
      for (let i = left; i <= last; i++) {
        const x = i + 0.5
        const wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
        const wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
        const wa = 1 - wb - wc
        if (wa < 0 || wb < 0 || wc < 0) continue
        const z = wa * (zs[a] ?? 0) + wb * (zs[b] ?? 0) + wc * (zs[c] ?? 0)
        const at = i + width * j
        if (z <= (depth[at] ?? 0)) continue
        depth[at] = z
        const light = wa * (lights[a] ?? 0) + wb * (lights[b] ?? 0) + wc * (lights[c] ?? 0)
        const shine = wa * (shines[a] ?? 0) + wb * (shines[b] ?? 0) + wc * (shines[c] ?? 0)
        pixels[4 * at] = tint[0] * light + shine
        pixels[4 * at + 1] = tint[1] * light + shine
        pixels[4 * at + 2] = tint[2] * light + shine
        pixels[4 * at + 3] = 255
      }
    }
  }
  for (let k = 0; k < quads.length; k += 4) {
    const [a, b, c, d] = [quads[k] ?? 0, quads[k + 1] ?? 0, quads[k + 2] ?? 0, quads[k + 3] ?? 0]
    triangle(a, b, c)
    triangle(a, c, d)
  }
}

/** What lies lower than what is around it is darker. */
function shade(pixels: Uint8ClampedArray, depth: Float32Array, width: number, height: number, scale: number): void {
  const range = 14 * scale // pixels of depth, of so many mm
  for (let j = 0, at = 0; j < height; j++) {
    for (let i = 0; i < width; i++, at++) {
      const z = depth[at] ?? 0
      if (z === Number.NEGATIVE_INFINITY) continue
      let hidden = 0
      for (const far of NEAR) {
        for (const [di, dj] of AROUND) {
          const [x, y] = [i + far * di, j + far * dj]
          if (x < 0 || y < 0 || x >= width || y >= height) continue
          const higher = (depth[x + width * y] ?? 0) - z - far
          if (higher > 0) hidden += Math.min(1, (4 * higher) / range)
        }
      }
      const light = 1 - 0.4 * Math.min(1, hidden / 8)
      for (let k = 4 * at; k < 4 * at + 3; k++) pixels[k] = (pixels[k] ?? 0) * light
    }
  }
}

const AROUND = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
  [0.7, 0.7],
  [-0.7, 0.7],
  [0.7, -0.7],
  [-0.7, -0.7],
].map(([x = 0, y = 0]) => [Math.round(1.43 * x), Math.round(1.43 * y)] as const)
