// The same three slices of the same scan, drawn by the page's own panes and by NiiVue; the script reads what it took.

import { Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue'
import type { Vec3 } from '../../../web/src/scan/axes.ts'
import { h } from '../../../web/src/elements/dom.ts'
import { Pane } from '../../../web/src/canvas/pane.ts'
import type { Scene } from '../../../web/src/canvas/scene.ts'
import type { DisplayInfo } from '../../../web/src/server/types.ts'
import { type Plane, partOf, Volume } from '../../../web/src/scan/volume.ts'

/** Draws a slice change or another window at once, and waits until its pixels are there. */
interface Drawing {
  at(voxel: Vec3): void
  window(low: number, high: number): void
  finish(): void
  end(): void
}

const scan = fetch('./scan.nii').then((answer) => answer.arrayBuffer())

/** A file that is here in whole, as the page holds one that came part by part. */
function volumeOf(file: ArrayBuffer): Volume {
  const header = new DataView(file)
  const three = (read: (k: number) => number) => [0, 1, 2].map(read) as Vec3
  const shape = three((k) => header.getInt16(42 + 2 * k, true))
  const { data } = partOf(file, { start: [0, 0, 0], stop: shape })
  const range: [number, number] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const value of data) {
    range[0] = Math.min(range[0], value)
    range[1] = Math.max(range[1], value)
  }
  const spacing = three((k) => header.getFloat32(80 + 4 * k, true))
  const display: DisplayInfo = {
    low: null, high: null, function: 'LINEAR', table: null, inverted: false, unit: null, suv: null, suv_missing: null,
    modality: null, description: null, range, most: range,
  }
  const volume = new Volume({ shape, spacing, coloured: false }, display)
  for (let box = volume.next([0, 0, 0]); box; box = volume.next([0, 0, 0])) {
    const plane = shape[0] * shape[1]
    volume.take({ box, data: data.subarray(plane * box.start[2], plane * box.stop[2]), coloured: false })
  }
  return volume
}

async function ours(): Promise<Drawing> {
  const volume = volumeOf(await scan)
  const scene: Scene = {
    volume,
    window: volume.auto,
    inverted: false,
    cursor: [0, 0, 0],
    centre: [0, 1, 2].map((k) => ((volume.shape[k] ?? 1) - 1) / 2) as Vec3,
    zoom: 1,
    smooth: true,
    crosshair: true,
    objects: [],
    changes: null,
    map: null,
    box: null,
    handles: false,
    stroke: null,
    pending: [],
    measurements: [],
    measurement: null,
    brush: null,
    planar: false,
    oriented: true,
    calibrated: true,
    numbered: (_, index) => index + 1,
  }
  const panes = ([2, 1, 0] as Plane[]).map((plane) => new Pane(plane, scene, () => {}))
  document.body.replaceChildren(h('div', { id: 'ours' }, ...panes.map((pane) => pane.element)))
  const draw = () => {
    for (const pane of panes) pane.draw()
  }
  return {
    at(voxel) {
      scene.cursor = voxel
      draw()
    },
    window(low, high) {
      scene.window = { low, high }
      for (const pane of panes) pane.forget()
      draw()
    },
    finish() {
      for (const { canvas } of panes) canvas.getContext('2d')?.getImageData(0, 0, 1, 1)
    },
    end: () => {},
  }
}

async function niivue(): Promise<Drawing> {
  const canvas = h('canvas', { id: 'niivue' })
  document.body.replaceChildren(canvas)
  const viewer = new Niivue({
    sliceType: SLICE_TYPE.MULTIPLANAR,
    multiplanarShowRender: SHOW_RENDER.NEVER,
    multiplanarLayout: 2, // a grid
    isRadiologicalConvention: true,
    logLevel: 'silent',
  })
  await viewer.attachToCanvas(canvas, false)
  viewer.addVolume(await NVImage.loadFromUrl({ url: await scan, name: 'scan.nii', trustCalMinMax: false }))
  const [image] = viewer.volumes
  if (!image) throw new Error('NiiVue did not load the scan.')
  const { gl } = viewer
  return {
    at(voxel) {
      viewer.scene.crosshairPos = viewer.vox2frac(voxel)
      viewer.drawScene()
    },
    window(low, high) {
      image.cal_min = low
      image.cal_max = high
      viewer.updateGLVolume()
    },
    finish: () => gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)),
    end: () => gl.getExtension('WEBGL_lose_context')?.loseContext(),
  }
}

/** Milliseconds of n changes of one slice, of all three, of m windows, and of frames that each show another slice. */
async function measure(kind: 'ours' | 'niivue', n: number, m: number) {
  const drawing = await { ours, niivue }[kind]()
  const frame = () => new Promise<number>((seen) => requestAnimationFrame(seen))
  const timed = async (times: number, work: (k: number) => void) => {
    const spent: number[] = []
    for (let k = 0; k < times; k++) {
      await frame()
      const since = performance.now()
      work(k)
      drawing.finish()
      spent.push(performance.now() - since)
    }
    return spent
  }
  await timed(5, (k) => drawing.at([60, 60, 60 + k])) // what is made once
  const one = await timed(n, (k) => drawing.at([60, 60, 70 + k]))
  const three = await timed(n, (k) => drawing.at([70 + k, 70 + k, 140 + k]))
  const windows = await timed(m, (k) => drawing.window(10 * k, 900 - 20 * k))
  const frames: number[] = []
  let last = await frame()
  for (let k = 0; k < n; k++) {
    drawing.at([60, 60, 140 - k])
    const now = await frame()
    frames.push(now - last)
    last = now
  }
  drawing.end()
  return { one, three, windows, frames }
}

Object.assign(window, { measure })
