// What all slices draw, in canonical voxels.

import type { Box, Vec3 } from '../scan/axes.ts'
import type { Measurement } from '../scan/measurement.ts'
import type { Patch } from '../scan/patch.ts'
import type { Plane, Volume, Window } from '../scan/volume.ts'
import type { Ramp } from './colours.ts'

export const PLANE_NAMES = ['Sagittal', 'Coronal', 'Axial'] as const

export interface Scene {
  volume: Volume
  window: Window
  inverted: boolean
  cursor: Vec3
  centre: Vec3
  zoom: number
  smooth: boolean
  crosshair: boolean
  objects: Shown[]
  /** What a stroke added to a mask and took from it, where that is to be seen. */
  changes: Patch | null
  map: { name: string; patch: Patch; ramp: Ramp; opacity: number } | null
  /** `drawn`: the plane in which a box that is to be was drawn; null for the current object's. */
  box: { box: Box; drawn: Plane | null } | null
  /** Whether its sides can be pulled. */
  handles: boolean
  stroke: Painted | null
  /** Strokes that no mask knows yet. */
  pending: Painted[]
  /** What was measured, and what is being measured. */
  measurements: Measurement[]
  measurement: Measurement | null
  /** The brush where the pointer is, in CSS pixels of a pane. */
  brush: { plane: Plane; x: number; y: number; label: 0 | 1 | 2; radius: number } | null
  /** Whether the scan is one picture. */
  planar: boolean
  /** Whether right and left, front and back are known of it. */
  oriented: boolean
  /** Whether its spacing is in millimetres. */
  calibrated: boolean
  /** The number of a slice, from 1, as the file counts. */
  numbered(plane: Plane, index: number): number
}

/** A line painted with a round brush; `radius` in units of the finest voxel. */
export interface Painted {
  points: Vec3[]
  label: 0 | 1 | 2
  radius: number
}

/** An object as it is drawn; `fill` is the opacity of its inside. */
export interface Shown {
  /** The name of the object that it is, or is a part of. */
  root: string
  mask: Patch
  scribbles: Patch | null
  colour: string
  fill: number
  current: boolean
  /** Drawn as what it was before an adaptation. */
  before: boolean
}
