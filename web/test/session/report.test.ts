import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stemOf } from '../../src/panels/files.ts'
import type { EntryInfo } from '../../src/server/types.ts'
import { inWords, type Report, reportText } from '../../src/session/report.ts'

function entry(kind: string, request: Record<string, unknown> = {}, seconds?: number): EntryInfo {
  return { number: 1, kind, request, summary: seconds === undefined ? {} : { seconds }, created: 1_700_000_000 }
}

test('every kind of interaction has its words', () => {
  const strokes = [{ label: 1 }, { label: 1 }, { label: 2 }, { label: 0 }, {}].map((s) => ({
    points: [[1, 2, 3]],
    ...s,
  }))
  const words: [EntryInfo, string][] = [
    [entry('box', { box: '4:8,2:9,3', refine: 'auto' }), 'Box 4:8,2:9,3'],
    [entry('box', { scribbles: { strokes: strokes.slice(0, 3) } }), 'Begun by 3 strokes: 2 foreground, 1 background'],
    [
      entry('box', { box: '4:8,2:9,3', name: 'liver', initial: {} }),
      'Box 4:8,2:9,3 for liver, from a mask that was given',
    ],
    [entry('scribble', { scribbles: { strokes } }), '5 strokes: 1 erasing, 3 foreground, 1 background'],
    [entry('scribble', { scribbles: { strokes: strokes.slice(2, 3) } }), '1 stroke: 1 background'],
    [entry('scribble', { scribbles: { labels: { blob: 'ab', box: '1:2,3,4' } } }), 'Scribbles'],
    [entry('resize', { box: '1:9,2:9,3' }), 'Another box: 1:9,2:9,3'],
    [entry('propagate', { to: 7 }), 'The same in plane 7'],
    [entry('propagate', { to: 7, name: 'liver @7' }), 'The same in plane 7, as liver @7'],
    [entry('rename', { name: 'a', to: 'b' }), 'a is now called b'],
    [entry('tidy', { fill_holes: true, drop_islands: 0 }), 'Small holes filled; Small islands left'],
    [entry('tidy', { drop_islands: 0.1 }), 'Small islands dropped'],
    [entry('select', { name: 'a' }), 'Went on with a'],
    [entry('remove', { name: 'a' }), 'Removed a'],
    [entry('undo'), 'Undone'],
    [entry('something new', { name: 'a' }), 'something new a'],
  ]
  for (const [done, expected] of words) assert.equal(inWords(done), expected)
})

const REPORT: Report = {
  version: '0.7',
  session: {
    id: 's',
    image: 'k',
    title: '',
    model: 'default',
    parameters: 'fast',
    seed: 3,
    client: '',
    created: 1_700_000_000,
    touched: 1_700_000_060,
  },
  image: { shape: [64, 48, 20], spacing_mm: [0.5, 0.5, 2.00049] },
  objects: [
    {
      name: 'liver',
      box: '4:8,2:9,3',
      voxels: 12,
      model: { name: 'fcn', sha256: 'abcdef0123456789' },
      parameters: {},
      milliseconds: { cut: 200, network: 1040 },
      rounds: [
        { round: 0, energy: 1, foreground: 2 },
        { round: 1, energy: 1, foreground: 2 },
      ],
    },
    {
      name: 'liver @4',
      box: '4:8,2:9,4',
      voxels: 9,
      model: { name: 'own', sha256: '' },
      parameters: {},
      milliseconds: {},
      rounds: [],
    },
  ],
}

test('the text holds scan, objects with their measures, and the interactions with their times', () => {
  const measures = [
    { name: 'liver', voxels: 21, ml: 0.01234, area_mm2: null, diameter_mm: 4.567, diameter_px: null, ends: null },
  ]
  const text = reportText(REPORT, measures, [entry('box', { box: '4:8,2:9,3' }, 1.25), entry('undo')])
  for (const line of [
    'Session: untitled',
    'Scan: 64 × 48 × 20 voxels of 0.5 × 0.5 × 2 mm',
    'Computing: 1.3 s in 2 interactions',
    '  Volume (ml): 0.01',
    '  Diameter (mm): 4.6',
    '  Model: fcn (abcdef01)',
    '  Rounds: 2',
    '  Time (s): 1.24',
    '  Object: liver @4',
    '  Diameter (mm): –',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line} is not in\n${text}`)
  }
  assert.match(text, /1\. .*2023.*: Box 4:8,2:9,3 \(1\.25 s\)\n.*: Undone\n/)
})

test('nothing done is said, too', () => {
  const text = reportText({ ...REPORT, objects: [] }, [], [])
  assert.match(text, /Objects\n {2}none\n\nWhat was done\n {2}nothing\n/)
})

test('names of files come from titles', () => {
  const names: [string, string][] = [
    ['brain 1.nii.gz', 'brain 1'],
    ['a/b\\c:d*"e?.png', 'a-b-c-d-e'],
    ['..', 'bifseg'],
    ['', 'bifseg'],
    ['x'.repeat(200), 'x'.repeat(80)],
    ['größe', 'größe'],
    ['v1.2', 'v1.2'],
  ]
  for (const [title, stem] of names) assert.equal(stemOf(title), stem)
})
