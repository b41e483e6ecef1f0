// Rulers and angles over a slice.

import type { Vec3 } from '../scan/axes.ts'
import { type Measurement, told } from '../scan/measurement.ts'
import { HALO, haloed, say } from './marks.ts'
import type { Pane } from './pane.ts'

const TICK = 5 // half the length of the line across a ruler's end
const ARC = 18 // radius of an angle's arc

/** Those of this slice, and the one that is being drawn. */
export function drawMeasurements(c: CanvasRenderingContext2D, pane: Pane): void {
  const { scene, plane, index } = pane
  const { spacing } = scene.volume
  const here = [...scene.measurements, ...(scene.measurement ? [scene.measurement] : [])].filter(
    (one) => one.plane === plane && one.index === index,
  )
  for (const measurement of here) {
    const points = measurement.points.map((point) => pane.toScreen(point))
    haloed(c, [3.5, HALO], [1.5, '#ffd24d'], () => trace(c, points))
    label(c, points, told(measurement, spacing, scene.calibrated, scene.planar))
  }
}

/** The point of a measurement that lies within `reach` CSS pixels of a place. */
export function gripped(
  pane: Pane,
  place: [number, number],
  reach: number,
): { measurement: Measurement; k: number } | null {
  for (const measurement of pane.scene.measurements) {
    if (measurement.plane !== pane.plane || measurement.index !== pane.index) continue
    const k = measurement.points.findIndex((point: Vec3) => {
      const [x, y] = pane.toScreen(point)
      return Math.hypot(x - place[0], y - place[1]) <= reach
    })
    if (k >= 0) return { measurement, k }
  }
  return null
}

function trace(c: CanvasRenderingContext2D, points: [number, number][]): void {
  c.beginPath()
  for (const [x, y] of points) c.lineTo(x, y)
  const [a, b, d] = points
  if (a && b && !d) {
    const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1
    const [across, down] = [(-(b[1] - a[1]) / length) * TICK, ((b[0] - a[0]) / length) * TICK]
    for (const [x, y] of [a, b]) {
      c.moveTo(x - across, y - down)
      c.lineTo(x + across, y + down)
    }
  }
  c.stroke()
  if (a && b && d) {
    const [from, to] = [Math.atan2(a[1] - b[1], a[0] - b[0]), Math.atan2(d[1] - b[1], d[0] - b[0])]
    const turn = (to - from + 2 * Math.PI) % (2 * Math.PI)
    c.beginPath()
    c.arc(b[0], b[1], ARC, from, to, turn > Math.PI)
    c.stroke()
  }
}

/** Beside the end that lies farther to the right; an angle's beside its corner. */
function label(c: CanvasRenderingContext2D, points: [number, number][], text: string): void {
  const [a, b, d] = points
  if (!a || !b || !text) return
  const [x, y] = d ? b : a[0] > b[0] ? a : b
  c.font = '600 12px system-ui, sans-serif'
  c.fillStyle = '#ffd24d'
  c.textBaseline = 'middle'
  const width = c.measureText(text).width
  const room = c.canvas.clientWidth - x - 12 > width
  say(c, text, room ? x + 9 : x - 9, y + (d ? 16 : -9), room ? 'left' : 'right')
}
