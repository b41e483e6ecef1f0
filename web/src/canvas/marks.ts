// Lines and letters over a slice, in CSS pixels: strokes, brush, box, crosshair, where is right and left, how long is 1 cm.

import { across, type Plane } from '../scan/volume.ts'
import { SCRIBBLE } from './colours.ts'
import type { Pane } from './pane.ts'
import { type Painted, PLANE_NAMES } from './scene.ts'

export const HALO = 'rgb(0 0 0 / 0.6)'
const HANDLE = 5 // half a handle's side
const SLIDER = 20 // what a pane's right edge leaves to its slider
const LETTERS = [
  ['R', 'L'],
  ['A', 'P'],
  ['S', 'I'],
] as const

type Context = CanvasRenderingContext2D

/** The stroke that is being drawn, and those that no mask knows yet; one is seen where all of it lies in the slice. */
export function drawStrokes(c: Context, pane: Pane): void {
  const { scene, plane, index } = pane
  const painted = [...scene.pending, ...(scene.stroke ? [scene.stroke] : [])]
  for (const stroke of painted) {
    if (stroke.points.every((point) => Math.round(point[plane]) === index)) drawStroke(c, pane, stroke)
  }
}

function drawStroke(c: Context, pane: Pane, stroke: Painted): void {
  const points = stroke.points.map((point) => pane.toScreen(point))
  c.globalAlpha = 0.75
  c.fillStyle = c.strokeStyle = SCRIBBLE[stroke.label]
  c.lineWidth = 2 * radiusIn(pane, stroke.radius)
  c.lineCap = c.lineJoin = 'round'
  c.beginPath()
  for (const [x, y] of points) c.lineTo(x, y)
  if (points.length === 1 && points[0]) c.lineTo(points[0][0] + 0.01, points[0][1])
  c.stroke()
  c.globalAlpha = 1
}

export function drawBrush(c: Context, pane: Pane): void {
  const { brush, stroke } = pane.scene
  if (!brush || stroke || brush.plane !== pane.plane) return
  c.setLineDash(brush.label === 2 ? [3, 3] : [])
  c.beginPath()
  c.arc(brush.x, brush.y, radiusIn(pane, brush.radius), 0, 2 * Math.PI)
  haloed(c, [3, 'rgb(0 0 0 / 0.5)'], [1.5, SCRIBBLE[brush.label]], () => c.stroke())
  c.setLineDash([])
}

/** A brush's radius, given in units of the finest voxel. */
function radiusIn(pane: Pane, radius: number): number {
  return Math.max(1.5, (radius || 0.5) * Math.min(...pane.scene.volume.spacing) * pane.scale)
}

/** Draw a line twice, wide and dark below what is meant: it is seen on any grey. Each is a width and a colour. */
export function haloed(c: Context, below: [number, string], line: [number, string], draw: () => void): void {
  for (const [width, style] of [below, line]) {
    c.lineWidth = width
    c.strokeStyle = style
    draw()
  }
}

/** The middle of a pixel, where a line is as bright as it is meant to be. */
const crisp = (at: number): number => Math.floor(at) + 0.5

/** The box, with handles where they can be pulled. */
export function drawBox(c: Context, pane: Pane): void {
  const shown = pane.scene.box
  if (!shown) return
  const { start, stop } = shown.box
  const here = pane.index >= start[pane.plane] && pane.index < stop[pane.plane]
  const corners = pane.corners(shown.box)
  const [left, top] = [crisp(corners[0]), crisp(corners[1])]
  const [right, bottom] = [crisp(corners[2]), crisp(corners[3])]
  c.save()
  c.globalAlpha = here ? 1 : 0.35
  c.setLineDash(shown.drawn !== null || !here ? [6, 4] : [])
  haloed(c, [3, HALO], [1.25, '#ffffff'], () => c.strokeRect(left, top, right - left, bottom - top))
  if (here && pane.scene.handles) {
    c.setLineDash([])
    c.lineWidth = 1
    c.strokeStyle = '#000'
    c.fillStyle = '#fff'
    for (const x of [left, (left + right) / 2, right]) {
      for (const y of [top, (top + bottom) / 2, bottom]) {
        if (x !== (left + right) / 2 || y !== (top + bottom) / 2) {
          c.fillRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE)
          c.strokeRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE)
        }
      }
    }
  }
  c.restore()
}

export function drawCrosshair(c: Context, pane: Pane): void {
  const [x, y] = pane.toScreen(pane.scene.cursor)
  const { clientWidth: width, clientHeight: height } = pane.element
  c.strokeStyle = 'rgb(120 220 140 / 0.55)'
  c.lineWidth = 1
  c.beginPath()
  const gap = 10
  c.moveTo(x, 0)
  c.lineTo(x, y - gap)
  c.moveTo(x, y + gap)
  c.lineTo(x, height)
  c.moveTo(0, y)
  c.lineTo(x - gap, y)
  c.moveTo(x + gap, y)
  c.lineTo(width, y)
  c.stroke()
}

/** Where right, left, front, back, head and feet are, which slice this is, and how long a centimetre. */
export function drawLetters(c: Context, pane: Pane): void {
  const { scene, plane } = pane
  const { clientWidth: width, clientHeight: height } = pane.element
  const [u, v] = across(plane)
  c.font = '600 13px system-ui, sans-serif'
  c.fillStyle = '#e8ecf1'
  c.textBaseline = 'middle'
  if (scene.oriented) {
    const right = width - 8 - (scene.planar ? 0 : SLIDER)
    say(c, LETTERS[u][0], 8, height / 2, 'left')
    say(c, LETTERS[u][1], right, height / 2, 'right')
    say(c, LETTERS[v][0], width / 2, 12, 'center')
    say(c, LETTERS[v][1], width / 2, height - 12, 'center')
  }
  if (!scene.planar) {
    c.font = '12px system-ui, sans-serif'
    const below = width < 260 ? 16 : 0 // where the letter above is in its way
    say(c, `${PLANE_NAMES[plane]} ${numberOf(pane, plane)} / ${scene.volume.shape[plane]}`, 8, 13 + below, 'left')
  }
  if (scene.calibrated) drawLength(c, pane.scale, height)
}

function numberOf({ scene, index }: Pane, plane: Plane): number {
  return scene.numbered(plane, index)
}

function drawLength(c: Context, scale: number, height: number): void {
  const length = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200].find((mm) => mm * scale > 48) ?? 500
  const y = height - 14
  c.strokeStyle = '#e8ecf1'
  c.lineWidth = 1.5
  c.beginPath()
  c.moveTo(10, y - 4)
  c.lineTo(10, y)
  c.lineTo(10 + length * scale, y)
  c.lineTo(10 + length * scale, y - 4)
  c.stroke()
  c.font = '11px system-ui, sans-serif'
  const text = length >= 10 ? `${length / 10} cm` : length >= 1 ? `${length} mm` : `${1000 * length} µm`
  say(c, text, 14, y - 9, 'left')
}

export function say(c: Context, text: string, x: number, y: number, align: CanvasTextAlign): void {
  c.textAlign = align
  c.lineWidth = 3
  c.strokeStyle = 'rgb(0 0 0 / 0.7)'
  c.strokeText(text, x, y)
  c.fillText(text, x, y)
}
