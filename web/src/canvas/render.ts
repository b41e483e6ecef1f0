// The 3D rendering. The only module that knows NiiVue; it is fetched when a rendering is first to be seen.

import { Niivue, NVImage, SLICE_TYPE } from '@niivue/niivue'
import { h } from '../elements/dom.ts'
import type { Vec3 } from '../scan/axes.ts'
import { thinned, type Window } from '../scan/volume.ts'
import { rgb } from './colours.ts'
import type { Scene, Shown } from './scene.ts'
import { drawsSlowly } from './webgl.ts'

const LATER = 150 // milliseconds without news after which the rendering follows; it must never hold up a slice
const MOST = { gpu: 32_000_000, cpu: 300_000 } // voxels in a rendering: what is more takes memory, or seconds

export class Render {
  private readonly bitmap: Uint8Array
  private shown: readonly Shown[] = []
  private drawn: readonly Shown[] = []
  private grey: Window | null = null // that is still to be shown
  private timer = 0

  private constructor(
    private readonly viewer: Niivue,
    private readonly canvas: HTMLCanvasElement,
    private readonly shape: Vec3,
    private readonly every: number,
  ) {
    this.bitmap = new Uint8Array(shape[0] * shape[1] * shape[2])
  }

  /** A rendering in an element. Rejects where the browser has no WebGL 2, or not enough memory for it. */
  static async on(element: HTMLElement, scene: Scene): Promise<Render> {
    const canvas = h('canvas', { 'aria-label': '3D rendering: drag to turn it', role: 'img', tabindex: 0 })
    element.replaceChildren(canvas)
    if (!document.createElement('canvas').getContext('webgl2')) throw new Error('this browser has no WebGL 2.')
    const { file, shape, every } = thinned(scene.volume, drawsSlowly() ? MOST.cpu : MOST.gpu)
    const viewer = new Niivue({
      sliceType: SLICE_TYPE.RENDER,
      backColor: [0, 0, 0, 1],
      dragAndDropEnabled: false,
      isOrientCube: true,
      show3Dcrosshair: false,
      crosshairWidth: 0,
      loadingText: '',
      logLevel: 'silent',
    })
    await viewer.attachToCanvas(canvas, false)
    const image = await NVImage.loadFromUrl({ url: file, name: 'scan.nii', trustCalMinMax: false })
    viewer.addVolume(image)
    viewer.setOpacity(0, 0.4) // what lies inside is to be seen
    viewer.createEmptyDrawing()
    viewer.drawOpacity = 1
    const render = new Render(viewer, canvas, shape, every)
    render.window(scene.window)
    return render
  }

  /** Show objects, soon. */
  show(objects: readonly Shown[]): void {
    this.shown = objects
    this.follow()
  }

  /** Show other grey levels, soon. */
  window(grey: Window): void {
    this.grey = grey
    this.follow()
  }

  private follow(): void {
    window.clearTimeout(this.timer)
    this.timer = window.setTimeout(() => {
      this.shade()
      this.paint()
    }, LATER)
  }

  private shade(): void {
    const image = this.viewer.volumes[0]
    if (!image || !this.grey) return
    image.cal_min = this.grey.low
    image.cal_max = this.grey.high
    this.grey = null
    this.viewer.updateGLVolume()
  }

  /** The canvas, drawn just now: its pixels are gone after the frame. */
  snapshot(): HTMLCanvasElement {
    this.viewer.drawScene()
    return this.canvas
  }

  close(): void {
    window.clearTimeout(this.timer)
    this.viewer.gl?.getExtension('WEBGL_lose_context')?.loseContext()
  }

  private paint(): void {
    const same =
      this.shown.length === this.drawn.length &&
      this.shown.every((one, k) => one.mask === this.drawn[k]?.mask && one.colour === this.drawn[k]?.colour)
    if (same) return
    this.drawn = [...this.shown]
    const [nx, ny] = this.shape
    const to = (voxel: number) => Math.floor(voxel / this.every)
    this.bitmap.fill(0)
    this.drawn.forEach(({ mask }, k) => {
      const { start, stop } = mask.box
      for (let z = start[2]; z < stop[2]; z++) {
        const cut = mask.cut(2, z)
        if (!cut) continue
        for (let j = 0, from = 0; j < cut.height; j++) {
          const row = nx * (to(stop[1] - 1 - j) + ny * to(z))
          for (let i = 0; i < cut.width; i++, from++) {
            if (cut.values[from]) this.bitmap[row + to(stop[0] - 1 - i)] = (k % 254) + 1
          }
        }
      }
    })
    const colours = [[0, 0, 0] as const, ...this.drawn.map(({ colour }) => rgb(colour))]
    this.viewer.setDrawColormap({
      R: colours.map(([r]) => r),
      G: colours.map(([, g]) => g),
      B: colours.map(([, , b]) => b),
      A: colours.map((_, k) => (k ? 255 : 0)),
      I: colours.map((_, k) => k),
      labels: colours.map(() => ''),
    } as unknown as string)
    this.viewer.drawBitmap = this.bitmap
    this.viewer.refreshDrawing(true)
  }
}
