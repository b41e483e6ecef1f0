// What a scan's numbers are called when they are read to people.

import type { ImageInfo, MeasureInfo } from '../server/types.ts'
import type { Vec3 } from './axes.ts'
import type { Volume } from './volume.ts'

/** A voxel's value, with its unit where one is known. */
export function readingOf(volume: Volume, voxel: Vec3): string {
  const colour = volume.colourAt(voxel)
  if (colour) return `RGB ${colour.join(' ')}`
  const value = volume.at(voxel)
  if (value === null) return '…'
  const number = Number.isInteger(value) ? String(value) : value.toPrecision(4)
  const known = volume.unit ? `${number} ${volume.unit}` : number
  const suv = volume.display.suv
  return suv && volume.unit !== 'SUV' ? `SUV ${(value * suv).toFixed(2)} (${known})` : known
}

/** How large an object is; of a scan that is one slice an area, no volume: nobody knows how thick it is. */
export function flattened(measure: MeasureInfo, { shape, spacing, planar }: ImageInfo): MeasureInfo {
  const thin = shape.indexOf(1)
  if (planar || thin < 0 || measure.ml === null) return measure
  const pixel = spacing.reduce((product, side, k) => (k === thin ? product : product * side), 1)
  return { ...measure, ml: null, area_mm2: measure.voxels * pixel }
}
