// A tus server that nobody here wrote, keeping files in a folder: node tus_server.mjs FOLDER; prints the port it listens on.
import {createServer} from 'node:http'

import {FileStore} from '@tus/file-store'
import {Server} from '@tus/server'

const tus = new Server({path: '/files', datastore: new FileStore({directory: process.argv[2]})})
const server = createServer(tus.handle.bind(tus))
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
