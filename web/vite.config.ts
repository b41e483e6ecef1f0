import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const nothing = fileURLToPath(new URL('./src/canvas/nothing.ts', import.meta.url))

export default defineConfig({
  base: './',
  resolve: { alias: { zarrita: nothing } }, // a format we never give NiiVue, and a tenth of its size
  build: {
    outDir: '../src/bifseg/server/static',
    emptyOutDir: true,
    target: 'es2022',
    chunkSizeWarningLimit: 1200,
    license: { fileName: 'assets/licences.md' },
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:1527', '/enter': 'http://127.0.0.1:1527' } },
})
