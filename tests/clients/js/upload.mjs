// Drives tus-js-client for the tests: what to do comes as JSON in the first argument,
// what happens goes out as one JSON object a line, and a new token may come in as a line on standard input.
//
// { endpoint, token, files: [{ path, metadata, asStream?, uploadUrl? }], options: { … of tus.Upload … },
//   storage?, abortAt?, terminate? }

import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import tus from 'tus-js-client'

const job = JSON.parse(process.argv[2])
let token = job.token
let tokenCame = null

const tell = (event, details = {}) => process.stdout.write(`${JSON.stringify({ event, ...details })}\n`)
const statusOf = (error) => error.originalResponse?.getStatus() ?? null
const authorise = (request) => request.setHeader('Authorization', `Bearer ${token}`)

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  token = line
  tokenCame?.()
})

function start(file, number) {
  return new Promise((resolve) => {
    const reading = createReadStream(file.path)
    // Through a pipe it is a stream of unknown length that cannot be read twice.
    const upload = new tus.Upload(file.asStream ? reading.pipe(new PassThrough()) : reading, {
      endpoint: job.endpoint,
      uploadUrl: file.uploadUrl,
      metadata: file.metadata,
      retryDelays: Array(500).fill(20),
      ...job.options,
      ...(job.storage && { urlStorage: new tus.FileUrlStorage(job.storage) }),
      onBeforeRequest: async (request) => {
        authorise(request)
        tell('request', {
          number,
          method: request.getMethod(),
          offset: request.getHeader('Upload-Offset') ?? null,
          length: request.getHeader('Upload-Length') ?? null,
          deferred: request.getHeader('Upload-Defer-Length') ?? null,
        })
      },
      onAfterResponse: async (request, response) => {
        tell('answer', {
          number,
          method: request.getMethod(),
          status: response.getStatus(),
          offset: response.getHeader('Upload-Offset') ?? null,
        })
        if (response.getStatus() === 401) {
          // The app would sign in again here; the client's own retry then goes on with the new token.
          await new Promise((come) => {
            tokenCame = come
          })
        }
      },
      onShouldRetry: (error) => [null, 401, 409, 423, 503, 507].includes(statusOf(error)),
      onUploadUrlAvailable: () => tell('url', { number, url: upload.url }),
      onChunkComplete: (size, accepted, total) => {
        tell('chunk', { number, size, accepted, total })
        if (job.abortAt !== undefined && accepted >= job.abortAt && accepted < total) {
          upload.abort(Boolean(job.terminate)).then(
            () => resolve(tell('aborted', { number, url: upload.url })),
            (error) => resolve(tell('failed', { number, message: String(error), status: statusOf(error) })),
          )
        }
      },
      onSuccess: () => resolve(tell('success', { number, url: upload.url })),
      onError: (error) => resolve(tell('failed', { number, message: String(error), status: statusOf(error) })),
    })
    const resumed = job.storage ? upload.findPreviousUploads() : Promise.resolve([])
    resumed.then((previous) => {
      if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0])
      upload.start()
    })
  })
}

if (job.terminate && job.abortAt === undefined) {
  await tus.Upload.terminate(job.files[0].uploadUrl, { onBeforeRequest: authorise }).then(
    () => tell('terminated'),
    (error) => tell('failed', { message: String(error), status: statusOf(error) }),
  )
} else {
  await Promise.all(job.files.map(start))
}
lines.close()
process.stdin.destroy()
