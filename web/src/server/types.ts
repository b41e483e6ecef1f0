// Made by `make types`; do not edit. ec19fa825e33a92ad57d1d504e213d022786509f0f19fa7de6def9887ffbc5f5

export type paths = Record<string, never>
export type webhooks = Record<string, never>
export interface components {
  schemas: {
    /** @description A box around an object; one plane thick, it is segmented in 2D. Without a box, first scribbles make it. */
    Begin: {
      box?: string | null
      name?: string | null
      /**
       * @description auto: fine-tune to this image; crf: one minimum cut; none: the network as it is.
       * @default auto
       * @enum {string}
       */
      refine: 'auto' | 'crf' | 'none'
      /** @description A mask to start from; 0 is background. */
      initial?: components['schemas']['Mask'] | null
      scribbles?: components['schemas']['Scribbles'] | null
      /** @description Begin with what one of your tasks has learnt; what that is stays with the session. */
      task?: string | null
    }
    /** @description Whether there was something to cancel. */
    Cancellation: {
      cancelled: boolean
    }
    /** @description What a session's events tell whenever it changed: the number of its last interaction. */
    ChangedEvent: {
      number: number
    }
    /** @description Which version; null: all of them, so that new objects begin with the shipped network. */
    Chosen: {
      version?: number | null
    }
    /** @description Scribbles where the current object's mask is wrong. */
    Correct: {
      scribbles: components['schemas']['Scribbles']
      /**
       * @description auto: fine-tune to this image; crf: one minimum cut; none: the network as it is.
       * @default auto
       * @enum {string}
       */
      refine: 'auto' | 'crf' | 'none'
    }
    /**
     * @description How an image wants to be seen: what its DICOM headers say, nulls where they do not or it has none, and its
     *     values.
     */
    DisplayInfo: {
      /** @description The value that is black. */
      low: number | null
      /** @description The value that is white. */
      high: number | null
      /**
       * @description How grey runs between the two.
       * @enum {string}
       */
      function: 'LINEAR' | 'SIGMOID' | 'TABLE'
      /** @description TABLE: greys, 0 to 255, of each number from low to high. */
      table: number[] | null
      /** @description Whether large values are dark: PET, MONOCHROME1. */
      inverted: boolean
      /** @description Of the values, such as HU or Bq/ml. */
      unit: string | null
      /** @description By what a value is multiplied to become an SUV (body weight). */
      suv: number | null
      /** @description Why a PET series has no SUV. */
      suv_missing: string | null
      modality: string | null
      /** @description Of the series. */
      description: string | null
      /** @description The least and the greatest value. */
      range: [number, number]
      /** @description Between which most values lie: 2nd and 99.5th percentile. */
      most: [number, number]
    }
    /** @description Where an interaction led, and what it cost. ``repeated``: it had been done before, under the same key. */
    Done: {
      number: number
      objects: components['schemas']['ObjectInfo'][]
      current: string | null
      can_undo: boolean
      can_redo: boolean
      /** @description The number of the interaction that undo takes back. */
      undoes: number | null
      kind: string
      /** @default true */
      changed: boolean
      /** @default false */
      repeated: boolean
      /** @default 0 */
      seconds: number
      /** @default {} */
      milliseconds: {
        [key: string]: number
      }
      /** @default [] */
      rounds: {
        round: number
        energy: number
        /** @description Cells of the working grid. */
        foreground: number
        loss_before?: number | null
        loss_after?: number | null
      }[]
    }
    /** @description One interaction in a session's journal. Arrays in ``request`` are named by their SHA-256. */
    EntryInfo: {
      number: number
      kind: string
      request: {
        [key: string]: unknown
      }
      summary: {
        [key: string]: unknown
      }
      created: number
    }
    /** @description A format in which objects can be downloaded: which images it suits, and what it is good for. */
    ExportInfo: {
      /** @description What GET /sessions/{id}/labels takes as `format`. */
      format: string
      title: string
      help: string
      /** @description 2 for planar images, 3 for volumes. */
      axes: number[]
      /** @description Whether the image must have come as DICOM. */
      needs_series: boolean
    }
    /** @description A file or a folder that may be opened by its path. */
    FileInfo: {
      path: string
      folder: boolean
      bytes: number
    }
    /** @description An object of a session that is right everywhere; one that was added before is replaced. */
    Finished: {
      session: string
      /** @example object 1 */
      object: string
    }
    /** @description A finished object that a task remembers, and where it came from; null where that is not known. */
    FinishedInfo: {
      digest: string
      dimension: number
      box: string
      session: string | null
      object: string | null
      /** @description Of the object, when it was added. */
      version: string | null
      /** @description Of its session; or the file. */
      title: string | null
    }
    /** @description An image; millimetres, LPS. Column k of ``direction`` is where voxel axis k points. */
    ImageInfo: {
      key: string
      shape: [number, number, number]
      dtype: string
      spacing: [number, number, number]
      origin: [number, number, number]
      direction: [[number, number, number][], [number, number, number][], [number, number, number][]]
      planar: boolean
      /** @description Whether spacing is in millimetres; else only its ratios count. */
      calibrated: boolean
      /**
       * @description Whether a voxel is red, green and blue, each of dtype.
       * @default false
       */
      colours: boolean
      bytes: number
      created: number
      dicom: boolean
      /** @description The file axes, from 1, that run most to right, front and head; negative: they run the other way. */
      readonly axes: [number, number, number]
    }
    /** @description Shapes for the planes between those that the current object was drawn in. */
    Interpolate: {
      /** @description Two planes: nothing before or beyond is filled. */
      between?: [number, number] | null
    }
    /** @description A name for objects that DICOM-SEG has a code for, in any case and with or without a number after it. */
    LabelInfo: {
      name: string
      /**
       * @description As #rrggbb.
       * @example #e69f00
       */
      colour: string
      /** @description SNOMED CT. */
      code: string
      meaning: string
    }
    /** @description A version: what a task learnt at one moment. Dice, 0 to 1, of first masks of objects that were left out. */
    LearntInfo: {
      version: number
      /** @description 2: boxes in planes; 3: in volumes. */
      dimension: number
      objects: number
      patients: number
      /** @description Whether it proved better than the shipped network; else that is used. */
      used: boolean
      /** @description How far the network went from the shipped one, 0 to 1. */
      network: number
      /** @description How much counts where in their boxes the finished objects lie, 0 to 1. */
      shape: number
      /** @description How far strokes count: short, shorter, or as ever, which is empty. */
      reach: string
      /** @description By the shipped network; null with too few patients. */
      before: number | null
      /** @description How much more it is by what was learnt. */
      gain: number
      rejected: boolean
    }
    /**
     * @description A label map inside a box; voxels outside it are 0.
     *
     *     >>> int(Mask.of(np.ones((2, 3, 1), np.uint8), "4:6,0:3,7").array((9, 9, 9)).sum())
     *     6
     */
    Mask: {
      /**
       * @description Half-open ranges of voxels along x, y, z, in the file's order; a single index is a plane.
       * @example 40:80,52:90,12:40
       */
      box: string
      /** @description Base64 of the zlib-deflated uint8 voxels in the box, C order: z runs fastest. */
      deflate: string
    }
    /**
     * @description How large an object is, with its parts. The diameter is the longest distance between the centres of two voxels of
     *     one slice, ``ends``: of the planes that it was drawn in, else of an axial one.
     */
    MeasureInfo: {
      name: string
      voxels: number
      /** @description Volume; null of a picture, and where the spacing is unknown. */
      ml: number | null
      /** @description Of a picture whose spacing is known. */
      area_mm2: number | null
      /** @description Null where the spacing is unknown. */
      diameter_mm: number | null
      /** @description In voxels; where the spacing is unknown. */
      diameter_px: number | null
      /** @description Two voxels, x, y, z; null for an empty mask. */
      ends: [[number, number, number][], [number, number, number][]] | null
    }
    /** @description An object. */
    Named: {
      /** @example object 1 */
      name: string
    }
    /** @description A session on an image that was uploaded or opened before. */
    NewSession: {
      /** @description The image's key. */
      image: string
      /** @default  */
      title: string
      /**
       * @description One of the server's models; see GET /api/v1/server.
       * @default default
       */
      model: string
      /**
       * @description A preset; or one but for some numbers: {'preset': 'fast', 'fill_holes': 0}. Switches are full_resolution (masks follow the scan's own edges), fill_holes and drop_islands (0 leaves them).
       * @default fast
       */
      parameters: ('fast' | 'paper') | components['schemas']['Parameters']
      /** @default 0 */
      seed: number
    }
    /** @description A task that has no object yet. */
    NewTask: {
      /** @example left kidney, CT */
      name: string
    }
    /** @description One object, or its part in another plane: its box, and how many voxels its mask has. */
    ObjectInfo: {
      name: string
      box: string
      voxels: number
      /** @description As long as it is the same, all of the object is, bit for bit. */
      version: string
      /** @description The object that this is a part of. */
      part_of: string | null
      /** @description What it began with; null: the network, which learnt from no task. */
      prior: components['schemas']['PriorInfo'] | null
      /** @description What becomes of its holes and islands; null: an older version made it. */
      tidy: components['schemas']['TidyInfo'] | null
    }
    /** @description A scan in the server's folder of images. */
    Open: {
      /** @example ward 3/scan.nii.gz */
      path: string
      /** @description UID of one of several DICOM series. */
      series?: string | null
    }
    /** @description The method's numbers, by the paper's symbols; those that are left out have the values of the `preset`, or where none is given the paper's. */
    Parameters: {
      /** @enum {string} */
      preset?: 'fast' | 'paper'
      /** @default 3 */
      lam: number
      /** @default 0.1 */
      sigma: number
      /** @default 3 */
      connectivity: number
      /** @default 0.2 */
      t0: number
      /** @default 0.7 */
      t1: number
      /** @default 0.2 */
      epsilon: number
      /** @default 5 */
      omega: number
      /** @default 0 */
      unsure: number
      /** @default true */
      weighted: boolean
      /** @default false */
      balanced: boolean
      /** @default 0 */
      share: number
      /** @default 0 */
      evidence: number
      /** @default 0.1 */
      reach: number
      /** @default 0 */
      nearness: number
      /** @default 1 */
      handicap: number
      /** @default 0 */
      opening: number
      /** @default 0 */
      persistence: number
      /** @default 0 */
      appearance: number
      /** @default 0 */
      rnet: number
      /** @default 0 */
      slices: number
      /** @default 1 */
      blend: number
      /** @default false */
      never_empty: boolean
      /** @default 4 */
      rounds: number
      /** @default 20 */
      iterations: number
      /** @default 0.01 */
      rate: number
      /** @default 0 */
      momentum: number
      /** @default 0 */
      samples: number
      /** @default true */
      unsupervised: boolean
      /** @default false */
      full_resolution: boolean
      /** @default 1 */
      band_lam: number
      /** @default 0.05 */
      band_sigma: number
      /** @default 0 */
      fill_holes: number
      /** @default 0 */
      drop_islands: number
    }
    /** @description Where an object's mask is unsure: ``uncertainty`` in bits, blurred. */
    PlaceInfo: {
      voxel: [number, number, number]
      uncertainty: number
    }
    /** @description The version of a task that an object began with. */
    PriorInfo: {
      task: string
      version: number
    }
    /** @description Another plane for the current object, which has to be in one; or many of them. */
    Propagate: {
      /** @description A plane, along the axis that the box is thin along; or a range of them, [start, stop], half-open, or 'end', all there are: through these it is carried both ways until it ends, as one interaction. */
      to: number | [number, number] | 'end'
      name?: string | null
      /**
       * @description auto, crf: one minimum cut; none: the classifier as it is.
       * @default auto
       * @enum {string}
       */
      refine: 'auto' | 'crf' | 'none'
    }
    /** @description What a stream tells first: how many interactions are computed before this one. */
    QueuedEvent: {
      queued: number
    }
    /** @description Why a request was not done. ``detail`` is one sentence for people; programs read the other fields. */
    Refusal: {
      detail: string
      /** @description The kind of refusal; several_series: ask again with the uid of one of ``series``. */
      code?: string | null
      /** @description What there is to choose from. */
      series?: components['schemas']['SeriesInfo'][] | null
    }
    /** @description An object, and its new name. */
    Rename: {
      /** @example object 1 */
      name: string
      /** @example object 1 */
      to: string
    }
    /** @description Another box for the current object. */
    Resize: {
      /**
       * @description Half-open ranges of voxels along x, y, z, in the file's order; a single index is a plane.
       * @example 40:80,52:90,12:40
       */
      box: string
      scribbles?: components['schemas']['Scribbles'] | null
      /**
       * @description auto: fine-tune to this image; crf: one minimum cut; none: the network as it is.
       * @default auto
       * @enum {string}
       */
      refine: 'auto' | 'crf' | 'none'
    }
    /** @description What a stream tells of a round while the interaction runs. */
    RoundEvent: {
      round: number
      last: boolean
      energy: number
      foreground: number
      milliseconds: {
        [key: string]: number
      }
    }
    /** @description Strokes, or a map of voxels: 1 foreground, 2 background, 0 none. One of the two. */
    Scribbles: {
      strokes?: components['schemas']['Stroke'][] | null
      labels?: components['schemas']['Mask'] | null
    }
    /** @description A DICOM series that could be asked for; what its files do not tell is null. */
    SeriesInfo: {
      /** @description Empty where the files have none; then it cannot be asked for by it. */
      uid: string
      /** @description Columns, rows, frames. */
      shape: [number, number, number]
      modality: string | null
      number: string | null
      description: string | null
    }
    /** @description What this server offers, and to whom it speaks. */
    ServerInfo: {
      version: string
      user: string
      models: string[]
      presets: string[]
      upload_formats: string[]
      download_formats: string[]
      exports: components['schemas']['ExportInfo'][]
      labels: components['schemas']['LabelInfo'][]
      /** @description Whether it has a folder of images to open. */
      images: boolean
      limits: {
        [key: string]: number
      }
    }
    /** @description What a session was made with; times are seconds since 1970. */
    SessionInfo: {
      id: string
      image: string
      title: string
      model: string
      parameters:
        | string
        | {
            [key: string]: unknown
          }
      seed: number
      client: string
      created: number
      touched: number
    }
    /** @description A session, and where it stands. */
    SessionState: {
      number: number
      objects: components['schemas']['ObjectInfo'][]
      current: string | null
      can_undo: boolean
      can_redo: boolean
      /** @description The number of the interaction that undo takes back. */
      undoes: number | null
      id: string
      image: string
      title: string
      model: string
      parameters:
        | string
        | {
            [key: string]: unknown
          }
      seed: number
      client: string
      created: number
      touched: number
    }
    /** @description A polyline painted with a round brush. */
    Stroke: {
      /**
       * @description Voxel coordinates x, y, z.
       * @example [
       *       [
       *         50,
       *         60,
       *         20
       *       ],
       *       [
       *         55,
       *         61,
       *         20
       *       ]
       *     ]
       */
      points: [number, number, number][]
      /**
       * @description 1 foreground, 2 background, 0 takes away the scribbles it touches.
       * @default 1
       * @enum {integer}
       */
      label: 0 | 1 | 2
      /**
       * @description In units of the finest voxel spacing.
       * @default 0
       */
      radius: number
    }
    /** @description A mask that a person accepted elsewhere. */
    Submit: {
      labels: components['schemas']['Mask']
      /** @default  */
      title: string
    }
    /** @description A task. */
    TaskInfo: {
      name: string
      /** @description Finished ones that it remembers. */
      objects: number
      /** @description Whether it has objects that it is still learning from. */
      learning: boolean
      /** @description What new objects begin with, in 2D and in 3D. */
      in_use: components['schemas']['LearntInfo'][]
    }
    /** @description A task with its objects and all versions, the oldest first. */
    TaskState: {
      name: string
      /** @description Finished ones that it remembers. */
      objects: number
      /** @description Whether it has objects that it is still learning from. */
      learning: boolean
      /** @description What new objects begin with, in 2D and in 3D. */
      in_use: components['schemas']['LearntInfo'][]
      finished: components['schemas']['FinishedInfo'][]
      versions: components['schemas']['LearntInfo'][]
    }
    /** @description Whether the current object's small holes are filled, and its small islands dropped. */
    Tidy: {
      fill_holes?: (boolean | number) | null
      drop_islands?: (boolean | number) | null
    }
    /** @description An object's rules: shares of its mask, 0 where nothing is done. See the parameters of these names. */
    TidyInfo: {
      fill_holes: number
      drop_islands: number
    }
  }
  responses: never
  parameters: never
  requestBodies: never
  headers: never
  pathItems: never
}
export type Begin = components['schemas']['Begin']
export type Cancellation = components['schemas']['Cancellation']
export type ChangedEvent = components['schemas']['ChangedEvent']
export type Chosen = components['schemas']['Chosen']
export type Correct = components['schemas']['Correct']
export type DisplayInfo = components['schemas']['DisplayInfo']
export type Done = components['schemas']['Done']
export type EntryInfo = components['schemas']['EntryInfo']
export type ExportInfo = components['schemas']['ExportInfo']
export type FileInfo = components['schemas']['FileInfo']
export type Finished = components['schemas']['Finished']
export type FinishedInfo = components['schemas']['FinishedInfo']
export type ImageInfo = components['schemas']['ImageInfo']
export type Interpolate = components['schemas']['Interpolate']
export type LabelInfo = components['schemas']['LabelInfo']
export type LearntInfo = components['schemas']['LearntInfo']
export type Mask = components['schemas']['Mask']
export type MeasureInfo = components['schemas']['MeasureInfo']
export type Named = components['schemas']['Named']
export type NewSession = components['schemas']['NewSession']
export type NewTask = components['schemas']['NewTask']
export type ObjectInfo = components['schemas']['ObjectInfo']
export type Open = components['schemas']['Open']
export type Parameters = components['schemas']['Parameters']
export type PlaceInfo = components['schemas']['PlaceInfo']
export type PriorInfo = components['schemas']['PriorInfo']
export type Propagate = components['schemas']['Propagate']
export type QueuedEvent = components['schemas']['QueuedEvent']
export type Refusal = components['schemas']['Refusal']
export type Rename = components['schemas']['Rename']
export type Resize = components['schemas']['Resize']
export type RoundEvent = components['schemas']['RoundEvent']
export type Scribbles = components['schemas']['Scribbles']
export type SeriesInfo = components['schemas']['SeriesInfo']
export type ServerInfo = components['schemas']['ServerInfo']
export type SessionInfo = components['schemas']['SessionInfo']
export type SessionState = components['schemas']['SessionState']
export type Stroke = components['schemas']['Stroke']
export type Submit = components['schemas']['Submit']
export type TaskInfo = components['schemas']['TaskInfo']
export type TaskState = components['schemas']['TaskState']
export type Tidy = components['schemas']['Tidy']
export type TidyInfo = components['schemas']['TidyInfo']
export type $defs = Record<string, never>
export type operations = Record<string, never>
