import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Api } from '../../src/server/api.ts'
import { ApiError } from '../../src/server/errors.ts'
import type { DisplayInfo, ImageInfo, ServerInfo, SessionState } from '../../src/server/types.ts'
import { severalScans } from '../../src/start/intake.ts'
import { Worklist } from '../../src/start/worklist.ts'

/** Takes files of a folder and uploads; "bad" is no scan, "two" holds two series, the sessions in `gone` were deleted. */
class Taking extends Api {
  readonly taken: string[] = []
  readonly gone = new Set<string>()

  override async server(): Promise<ServerInfo> {
    return { upload_formats: ['.nii.gz', '.png', '.dcm', '.zip'], limits: {} } as unknown as ServerInfo
  }

  override async upload(_: Blob, name: string): Promise<ImageInfo> {
    this.taken.push(name)
    if (name.startsWith('bad')) throw new ApiError(400, 'The upload is no scan.')
    return { key: `key of ${name}` } as ImageInfo
  }

  override openFile(path: string): Promise<ImageInfo> {
    if (path.startsWith('two'))
      return Promise.reject(new ApiError(400, 'Two series.', null, { detail: '', series: [] }))
    return this.upload(new Blob(), path)
  }

  override async display(): Promise<DisplayInfo> {
    return { description: null } as unknown as DisplayInfo
  }

  override async session(id: string): Promise<SessionState> {
    if (this.gone.has(id)) throw new ApiError(404, 'There is no such session.')
    return { id } as unknown as SessionState
  }
}

class Memory {
  private readonly all = new Map<string, string>()
  getItem = (key: string) => this.all.get(key) ?? null
  setItem = (key: string, value: string) => void this.all.set(key, value)
}

const storage = () => new Memory() as unknown as Storage
const begin = async (image: string, title: string) => `${title} on ${image}`
const file = (name: string) => ({ name, blob: new Blob([name]) })
const scans = (...names: string[]) => names.map((name) => ({ title: name, file: file(name) }))

test('scans are opened once each, and found again', async () => {
  const api = new Taking()
  const list = new Worklist(api, scans('a.png', 'b.png'), storage())
  const id = await list.session(0, begin)
  assert.equal(id, 'a.png on key of a.png')
  assert.equal(await list.session(0, begin), id)
  assert.deepEqual(api.taken, ['a.png'])
  assert.equal(list.placeOf(id), 0)
  assert.equal(list.placeOf('another'), -1)
  assert.deepEqual([list.beside(0, 1), list.beside(0, -1), list.beside(1, 1)], [1, null, null])
})

test('what cannot be opened says why, and is passed over until it is asked for', async () => {
  const list = new Worklist(new Taking(), scans('a.png', 'bad.png', 'c.png'), storage())
  await list.session(0, begin)
  assert.equal(list.beside(0, 1), 1)
  await assert.rejects(list.session(1, begin), /no scan/)
  assert.match(list.entries[1]?.fault ?? '', /no scan/)
  assert.deepEqual([list.beside(0, 1), list.beside(2, -1)], [2, 0])
  await assert.rejects(list.session(1, begin), /no scan/)
})

test('the next one is brought before it is asked for, once, and what is wrong with it is told then', async () => {
  const api = new Taking()
  const list = new Worklist(api, [...scans('a.png', 'bad.png'), { title: 'two', path: 'two' }], storage())
  for (const place of [0, 0, 1, 2, null]) list.prepare(place)
  await new Promise((resolve) => setTimeout(resolve)) // nobody is asked yet which of the two
  assert.deepEqual(api.taken, ['a.png', 'bad.png'])
  await list.session(0, begin)
  assert.deepEqual(api.taken, ['a.png', 'bad.png'])
  await assert.rejects(list.session(1, begin), /no scan/)
})

test('a list outlives the page, but for files that were chosen', async () => {
  const [api, kept] = [new Taking(), storage()]
  assert.equal(Worklist.kept(api, kept), null)
  const list = new Worklist(api, [...scans('a.png', 'b.png'), { title: 'c.png', path: 'ward 3/c.png' }], kept)
  const id = await list.session(0, begin)
  const again = Worklist.kept(api, kept)
  assert.ok(again)
  assert.equal(again.placeOf(id), 0)
  assert.equal(await again.session(0, begin), id)
  assert.equal(await again.session(2, begin), 'c.png on key of ward 3/c.png')
  await assert.rejects(again.session(1, begin), /b.png must be chosen again/)
  kept.setItem('bifseg-worklist', '{')
  assert.equal(Worklist.kept(api, kept), null)
})

test('a scan whose session was deleted begins anew', async () => {
  const api = new Taking()
  const list = new Worklist(api, scans('a.png', 'b.png'), storage())
  for (const gone of [() => api.gone.add('a.png on key of a.png'), () => list.forget('a.png on key of a.png')]) {
    await list.session(0, begin)
    gone()
    api.taken.length = 0
    await list.session(0, begin)
    assert.deepEqual(api.taken, ['a.png'])
    api.gone.clear()
  }
})

test('several files are several scans where each can be one', async () => {
  const api = new Taking()
  const names = async (...given: string[]) => (await severalScans(api, given.map(file))).map(({ name }) => name)
  assert.deepEqual(await names('s10.png', 's9.nii.gz', '.DS_Store'), ['s9.nii.gz', 's10.png'])
  assert.deepEqual(await names('a.png'), [])
  assert.deepEqual(await names('a.dcm', 'b.dcm'), [])
  assert.deepEqual(await names('a.png', 'notes.txt'), [])
})
