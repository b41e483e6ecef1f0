// Colours that colour-blind people can tell apart (Okabe and Ito 2008), and those of maps.

export const PALETTE = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#cc79a7', '#d55e00', '#0072b2', '#b5b5b5']
export const NAMES = ['orange', 'sky', 'green', 'yellow', 'pink', 'vermilion', 'blue', 'grey']
/** Of scribbles and the eraser, by label; background ones are hatched, too, so that nobody depends on the hue. */
export const SCRIBBLE = { 0: '#ffffff', 1: '#5ad1ff', 2: '#ff4f7b' } as const

/** What a stroke added to a mask, and what it took from it. */
export const CHANGE = { added: '#56b4e9', removed: '#ff7a3d' } as const

export function rgb(colour: string): [number, number, number] {
  const number = Number.parseInt(colour.slice(1), 16)
  return [number >> 16, (number >> 8) & 255, number & 255]
}

/** A map from [0, 1] to red, green, blue and opacity, each 0 to 255. */
export type Ramp = (value: number) => [number, number, number, number]

// Viridis and magma at nine points each; between them colours are mixed.
const VIRIDIS = ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962', '#addc30', '#fde725']
const MAGMA = ['#000004', '#1d1147', '#51127c', '#832681', '#b73779', '#e75263', '#fc8961', '#fec488', '#fcfdbf']

export const probability: Ramp = (p) => mixed(VIRIDIS, p, Math.min(1, 3 * p))
export const uncertainty: Ramp = (bits) => mixed(MAGMA, bits, Math.min(1, 1.5 * bits))
/** As in Fig. 3 of the paper: 0, what a network update does not trust, is black; 1 is grey; a scribble's weight is white. */
export const weights: Ramp = (w) => {
  const g = w > 1.01 ? 255 : Math.round(128 * Math.max(0, Math.min(1, w))) // between voxels 1 becomes 1.0000001, too
  return [g, g, g, 255]
}

function mixed(stops: string[], value: number, opacity: number): [number, number, number, number] {
  const place = Math.max(0, Math.min(1, value)) * (stops.length - 1)
  const k = Math.min(stops.length - 2, Math.floor(place))
  const [a, b] = [rgb(stops[k] ?? '#000000'), rgb(stops[k + 1] ?? '#000000')]
  const between = (i: 0 | 1 | 2) => Math.round(a[i] + (b[i] - a[i]) * (place - k))
  return [between(0), between(1), between(2), Math.round(255 * opacity)]
}
