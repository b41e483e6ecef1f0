import { defineConfig } from 'vite'

export default defineConfig({
  base: './',
  build: {
    outDir: '../src/bifseg/server/static',
    emptyOutDir: true,
    target: 'es2022',
    license: { fileName: 'assets/licences.md' },
    modulePreload: { polyfill: false },
  },
  worker: { format: 'es' },
  server: { proxy: { '/api': 'http://127.0.0.1:1527', '/enter': 'http://127.0.0.1:1527' } },
})
