// What was done in a session and what came of it, in words and numbers.

import type { Done, EntryInfo, MeasureInfo, SessionInfo } from '../server/types.ts'

/** What GET /sessions/{id}/report tells. */
export interface Report {
  version: string
  session: SessionInfo
  image: { shape: number[]; spacing_mm: number[] | null }
  objects: {
    name: string
    box: string
    voxels: number
    model: { name: string; sha256: string }
    parameters: Record<string, unknown>
    milliseconds: Record<string, number>
    rounds: Done['rounds']
  }[]
}

/** What the columns of `tableOf` are called: one picture has areas, a scan volumes. */
export function columnsOf(measures: MeasureInfo[]): string[] {
  const size = measures.some((one) => one.ml === null && one.area_mm2 !== null) ? 'Area (mm²)' : 'Volume (ml)'
  return ['Object', size, 'Diameter (mm)', 'Box (x, y, z)', 'Model', 'Rounds', 'Time (s)']
}

/** What there is to say of all of it: names and values. */
export function facts({ version, session, image }: Report, history: EntryInfo[]): [string, string][] {
  const computed = history.reduce((sum, { summary }) => sum + Number(summary.seconds ?? 0), 0)
  const preset = typeof session.parameters === 'string' ? session.parameters : 'own parameters'
  return [
    ['Session', session.title || 'untitled'],
    [
      'Scan',
      `${image.shape.join(' × ')} voxels of ${image.spacing_mm ? `${image.spacing_mm.map((mm) => rounded(mm, 3)).join(' × ')} mm` : 'unknown size'}`,
    ],
    ['Model', `${session.model}, ${preset}, seed ${session.seed}`],
    ['Begun', when(session.created)],
    ['Last used', when(session.touched)],
    ['Computing', `${rounded(computed, 1)} s in ${counted(history.length, 'interaction')}`],
    ['Made with', `bifseg ${version}`],
  ]
}

/** A row for each object, in the order of `columnsOf`; slices of an object have no measures of their own. */
export function tableOf({ objects }: Report, measures: MeasureInfo[]): string[][] {
  return objects.map(({ name, box, model, rounds, milliseconds }) => {
    const measure = measures.find((one) => one.name === name)
    const seconds = Object.values(milliseconds).reduce((sum, ms) => sum + ms, 0) / 1000
    return [
      name,
      sizeIn(measure),
      measure && measure.diameter_mm !== null ? rounded(measure.diameter_mm, 1) : '–',
      box,
      model.sha256 ? `${model.name} (${model.sha256.slice(0, 8)})` : model.name,
      String(rounds.length),
      rounded(seconds, 2),
    ]
  })
}

function sizeIn(measure: MeasureInfo | undefined): string {
  const size = measure?.ml ?? measure?.area_mm2 ?? null
  return size === null ? '–' : rounded(size, 2)
}

/** The report as plain text. */
export function reportText(report: Report, measures: MeasureInfo[], history: EntryInfo[]): string {
  const columns = columnsOf(measures)
  const objects = tableOf(report, measures).map((row) => row.map((cell, k) => `  ${columns[k]}: ${cell}`).join('\n'))
  const done = history.map((entry) => `  ${entry.number}. ${when(entry.created)}: ${inWords(entry)}${lasted(entry)}`)
  return [
    facts(report, history)
      .map(([name, value]) => `${name}: ${value}`)
      .join('\n'),
    ['Objects', objects.join('\n\n') || '  none'].join('\n'),
    ['What was done', ...(done.length ? done : ['  nothing'])].join('\n'),
    '',
  ].join('\n\n')
}

/** One interaction in words. */
export function inWords({ kind, request }: EntryInfo): string {
  const name = request.name ? ` ${request.name}` : ''
  switch (kind) {
    case 'box':
      if (!request.box) return `Begun${name && ` as${name}`} by ${strokesIn(request.scribbles).toLowerCase()}`
      return `Box ${request.box}${name && ` for${name}`}${request.initial ? ', from a mask that was given' : ''}`
    case 'scribble':
      return strokesIn(request.scribbles)
    case 'resize':
      return `Another box: ${request.box}`
    case 'propagate':
      return `The same in plane ${request.to}${name && `, as${name}`}`
    case 'tidy':
      return [
        ...ruled(request.fill_holes, 'Small holes', 'filled'),
        ...ruled(request.drop_islands, 'Small islands', 'dropped'),
      ].join('; ')
    case 'rename':
      return `${request.name} is now called ${request.to}`
    default:
      return `${WORDS[kind] ?? kind}${name}`
  }
}

const WORDS: Record<string, string> = {
  refine: 'Fine-tuned once more',
  undo: 'Undone',
  redo: 'Redone',
  select: 'Went on with',
  remove: 'Removed',
  submit: 'A mask from elsewhere was kept',
}
/** What was said to become of holes or islands; nothing where nothing was said. */
function ruled(rule: unknown, what: string, done: string): string[] {
  return rule === undefined || rule === null ? [] : [`${what} ${rule ? done : 'left'}`]
}

const LABELS = ['erasing', 'foreground', 'background']

function strokesIn(scribbles: unknown): string {
  const strokes = (scribbles as { strokes?: { label?: number }[] } | undefined)?.strokes
  if (!strokes) return 'Scribbles'
  const kinds = LABELS.map((label, k) => [strokes.filter((stroke) => (stroke.label ?? 1) === k).length, label] as const)
  const some = kinds.filter(([count]) => count).map(([count, label]) => `${count} ${label}`)
  return `${counted(strokes.length, 'stroke')}: ${some.join(', ')}`
}

/** How long it was computed, in brackets, where that is worth a word. */
export function lasted({ summary }: EntryInfo): string {
  const seconds = Number(summary.seconds ?? 0)
  return seconds >= 0.005 ? ` (${rounded(seconds, 2)} s)` : ''
}

/** A time in seconds since 1970, as people here write it. */
export function when(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
}

export function rounded(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)))
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
