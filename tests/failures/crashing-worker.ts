import pino from 'pino';
import { readConfig } from '../../src/config.ts';
import { startService } from '../../src/service.ts';

// A worker as `npm start` has it, except that it dies, as by `kill -9`, when it comes to a named moment for the n-th time.
const [point, nth = '1'] = process.argv.slice(2);
let left = Number(nth);

await startService(readConfig(process.env), pino({ level: 'warn', base: null }), {
  reached: (reached) => {
    if (reached !== point) return;
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  },
});
