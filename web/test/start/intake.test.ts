import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { Api } from '../../src/server/api.ts'
import { ApiError } from '../../src/server/errors.ts'
import type { ImageInfo, SeriesInfo, ServerInfo } from '../../src/server/types.ts'
import { choicesOf, holdsSession, intake, ofOneSeries } from '../../src/start/intake.ts'
import { ago } from '../../src/start/open.ts'
import { type NamedBlob, zipOf } from '../../src/start/zip.ts'

/** Keeps what is uploaded, by name. */
class Collecting extends Api {
  readonly sent: NamedBlob[] = []
  refusal: ApiError | null = null

  override async server(): Promise<ServerInfo> {
    const upload_formats = ['.nii.gz', '.nii', '.png', '.dcm', '.zip']
    return { upload_formats, limits: { upload_bytes: 2000 } } as unknown as ServerInfo
  }

  override async upload(body: Blob, name: string, progress?: (share: number) => void): Promise<ImageInfo> {
    progress?.(0.5)
    progress?.(1)
    if (this.refusal) throw this.refusal
    this.sent.push({ name, blob: body })
    return { key: 'k' } as ImageInfo
  }
}

const SLICE = new Blob([new Uint8Array(128), 'DICM', 'pixels'])
const file = (name: string, blob: Blob = new Blob([name])): NamedBlob => ({ name, blob })

const LIST = 'import io, sys, zipfile; print(*zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).namelist(), sep="|")'

async function names(zip = new Blob()): Promise<string[]> {
  const input = new Uint8Array(await zip.arrayBuffer())
  return execFileSync('python3', ['-c', LIST], { input, encoding: 'utf8' }).trim().split('|')
}

test('one file goes as it is, and is the title', async () => {
  const api = new Collecting()
  const told: [number | null, string][] = []
  const { title } = await intake(api, Promise.resolve([file('head/T1.NII.GZ')]), (...now) => told.push(now))
  assert.equal(title, 'T1.NII.GZ')
  assert.equal(await api.sent[0]?.blob.text(), 'head/T1.NII.GZ')
  assert.deepEqual(told, [
    [0.5, 'Uploading'],
    [null, 'Reading'],
  ])
})

test('a folder goes as a zip without what is no slice, and is the title', async () => {
  const api = new Collecting()
  const junk = ['a/.DS_Store', 'a/DICOMDIR', '__MACOSX/a/IM1', 'a/Thumbs.db'].map((name) => file(name))
  const { title } = await intake(api, [file('a/IM1', SLICE), ...junk, file('a/b/IM2', SLICE)])
  assert.deepEqual([title, api.sent[0]?.name], ['a', 'a.zip'])
  assert.deepEqual(await names(api.sent[0]?.blob), ['a/IM1', 'a/b/IM2'])
})

test('a slice without an ending is known by its content', async () => {
  const api = new Collecting()
  await intake(api, [file('IM1', SLICE)])
  assert.equal(api.sent[0]?.name, 'IM1.zip')
  const { title } = await intake(api, [file('IM1', SLICE), file('IM2', SLICE), file('IM3', SLICE)])
  assert.equal(title, 'IM1 and 2 more')
})

test('what cannot be opened is refused in one sentence before anything is sent', async () => {
  const api = new Collecting()
  const wrong: [NamedBlob[], RegExp][] = [
    [[], /^There is no file to open\.$/],
    [[file('a/.DS_Store')], /^There is no file to open\.$/],
    [[file('brain.hdr'), file('brain.img')], /^brain\.hdr is one of a pair of \.hdr and \.img/],
    [[file('brain.img.gz')], /pair/],
    [[file('letter.docx')], /^letter\.docx is of no known kind; possible are DICOM slices, \.nii\.gz, /],
    [[file('a.nii', new Blob([new Uint8Array(3000)]))], /this server takes/],
  ]
  for (const [files, sentence] of wrong) await assert.rejects(intake(api, files), { name: 'Error', message: sentence })
  await assert.rejects(intake(api, Promise.reject(new Error('b cannot be read.'))), { message: 'b cannot be read.' })
  assert.equal(api.sent.length, 0)
  api.refusal = new ApiError(400, 'The upload is damaged.')
  await assert.rejects(intake(api, [file('a.nii')]), api.refusal)
})

const SERIES: SeriesInfo[] = [
  { uid: '1.2.840.1', shape: [512, 512, 100], modality: 'CT', number: '3', description: 'Thorax, lung (1.5), C+' },
  { uid: '1.2.840.22', shape: [64, 64, 1], modality: 'MR', number: '4', description: null },
  { uid: '', shape: [64, 64, 2], modality: null, number: null, description: null },
]

test('the series that the server tells of are choices, but for those that cannot be asked for', () => {
  assert.deepEqual(choicesOf(SERIES), [
    { value: '1.2.840.1', label: 'Thorax, lung (1.5), C+, CT, 512 × 512 × 100 voxels, 1.2.840.1' },
    { value: '1.2.840.22', label: 'Series 4, MR, 64 × 64 × 1 voxels, 1.2.840.22' },
  ])
})

test('a refusal without series is no question, whatever its sentence says', async () => {
  const sentence =
    'The upload holds several DICOM series; pick one with --series (series=) and its UID: 1.2 (5 x 6 x 4).'
  for (const series of [undefined, null, []]) {
    const error = new ApiError(400, sentence, null, { detail: sentence, series })
    await assert.rejects(
      ofOneSeries(() => Promise.reject(error)),
      error,
    )
  }
})

test('a session file is known by its manifest, not by its ending', async () => {
  const blob = new Blob(['{}'])
  assert.ok(await holdsSession(await zipOf([{ name: 'manifest.json', blob }])))
  assert.ok(!(await holdsSession(await zipOf([{ name: 'IM1', blob }]))))
  assert.ok(!(await holdsSession(new Blob())))
})

test('times are told as people tell them', () => {
  const told = [-5, 0, 59, 60, 3599, 7200, 86_400, 1_000_000, 40_000_000].map((past) => ago(1e9 - past, 1e9))
  assert.deepEqual(told, [
    'just now',
    'just now',
    'just now',
    '1 minute ago',
    '59 minutes ago',
    '2 hours ago',
    '1 day ago',
    '1 week ago',
    '1 year ago',
  ])
})
