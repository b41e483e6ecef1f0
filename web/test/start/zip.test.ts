import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { zipOf } from '../../src/start/zip.ts'

const CONTENTS: [string, Uint8Array<ArrayBuffer>][] = [
  ['scan/IM 0001', Uint8Array.from({ length: 200_000 }, (_, k) => (k * k) >>> 3)],
  ['scan/größe-日本.dcm', new TextEncoder().encode('DICM')],
  ['empty', new Uint8Array()],
  ['odd', Uint8Array.from({ length: 4099 }, (_, k) => k * 7)], // a sum takes four bytes at a time, and then those that are left
]

function inFolder(work: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'zip-'))
  try {
    work(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('Python finds the files, their names and their sums in order', async () => {
  const zip = await zipOf(CONTENTS.map(([name, bytes]) => ({ name, blob: new Blob([bytes]) })))
  const bytes = Buffer.from(await zip.arrayBuffer())
  inFolder((folder) => {
    const path = join(folder, 'made.zip')
    writeFileSync(path, bytes)
    assert.match(execFileSync('python3', ['-m', 'zipfile', '--test', path], { encoding: 'utf8' }), /Done testing/)
    execFileSync('python3', ['-X', 'utf8', '-m', 'zipfile', '--extract', path, folder])
    for (const [name, content] of CONTENTS) assert.deepEqual(new Uint8Array(readFileSync(join(folder, name))), content)
  })
})

test('a zip of nothing is a zip', async () => {
  const bytes = Buffer.from(await (await zipOf([])).arrayBuffer())
  inFolder((folder) => {
    writeFileSync(join(folder, 'empty.zip'), bytes)
    execFileSync('python3', ['-m', 'zipfile', '--test', join(folder, 'empty.zip')])
  })
})

test('progress ends at 1 and never goes back', async () => {
  const told: number[] = []
  await zipOf(
    CONTENTS.map(([name, bytes]) => ({ name, blob: new Blob([bytes]) })),
    (share) => told.push(share),
  )
  assert.equal(told.at(-1), 1)
  assert.deepEqual(
    told,
    [...told].sort((a, b) => a - b),
  )
})

test('more than 4 GiB, or more files than a zip counts, are refused in one sentence', async () => {
  const large = { size: 3 * 2 ** 30 } as Blob
  const files = ['a', 'b'].map((name) => ({ name, blob: large }))
  await assert.rejects(zipOf(files), { message: 'The 2 files have 6.0 GiB; at most 4 GiB go together.' })
  const many = Array.from({ length: 65_536 }, (_, k) => ({ name: `${k}`, blob: new Blob() }))
  await assert.rejects(zipOf(many), { message: 'There are 65536 files; at most 65535 go together.' })
})

test('a file that cannot be read is named; one who aborts hears so', async () => {
  const broken = { size: 1, stream: () => new ReadableStream({ start: (to) => to.error(new Error('gone')) }) } as Blob
  await assert.rejects(zipOf([{ name: 'IM1', blob: broken }]), { message: 'The file IM1 cannot be read.' })
  const blob = new Blob(['text'])
  await assert.rejects(
    zipOf([{ name: 'IM1', blob }], () => {}, AbortSignal.abort()),
    { name: 'AbortError' },
  )
})

test('several files are read at once, and no further ones after one that cannot be', async () => {
  let begun = 0
  const waiting = { size: 1 } as Blob
  const both = new Promise<void>((resolve) => {
    waiting.stream = () => {
      if (++begun === 2) resolve()
      return new ReadableStream({
        start: async (to) => {
          await both
          to.enqueue(new Uint8Array(1))
          to.close()
        },
      }) as ReturnType<Blob['stream']>
    }
  })
  await zipOf(['a', 'b'].map((name) => ({ name, blob: waiting }))) // for ever, one after the other
  assert.equal(begun, 2)
  let read = 0
  const broken = { size: 1, stream: () => new ReadableStream({ start: (to) => to.error(new Error('gone')) }) } as Blob
  const stream = () => {
    read++
    return new Blob(['x']).stream()
  }
  const counted = { size: 1, stream } as Blob
  const files = [broken, ...Array.from({ length: 1000 }, () => counted)].map((blob, k) => ({ name: `IM${k}`, blob }))
  await assert.rejects(zipOf(files), { message: 'The file IM0 cannot be read.' })
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok(read < 100, `${read} files were read`)
})
