import { ApiError } from './errors.ts';
import { describeFault, type FaultName } from './fault-names.ts';
import type { FaultRule } from './fault-rules.ts';
import type { Faults, HttpFault, HttpReply } from './faults.ts';
import { firstStrike, type Occasions } from './occasions.ts';
import type { RouteName } from './route-names.ts';
import { tokenLimitMessage } from './validation-errors.ts';

/** The faults of requests: those that keep them from being done, and those that lose the answer. */
export function requestFaults(counted: Occasions[]): Faults {
  const rules = counted.filter(({ rule }) => describeFault(rule.fault).subject === 'request');
  if (rules.length === 0) return {};
  return {
    async beforeReply({ route }) {
      if (route === null) return undefined;
      const strike = firstStrike(rules.filter(({ rule }) => isAbout(rule, route)));
      return strike ? faultOf(strike.rule) : undefined;
    },
  };
}

function isAbout({ fault, route }: FaultRule, requested: RouteName): boolean {
  if (fault.startsWith('token_limit')) return requested === 'create';
  return route === undefined || route === requested;
}

function faultOf({ fault, ms = describeFault(fault).ms ?? 0 }: FaultRule): HttpFault {
  switch (fault) {
    case 'timeout_before':
      return { effect: 'none', answer: 'drop', ms };
    case 'timeout_after':
      return { effect: 'done', answer: 'drop', ms };
    case 'reset_before':
      return { effect: 'none', answer: 'reset', ms };
    case 'reset_after':
      return { effect: 'done', answer: 'reset', ms };
    case 'late_effect':
      return { effect: 'late', answer: 'reset', ms };
    default:
      return { effect: fault.endsWith('_after') ? 'done' : 'none', answer: replyOf(fault), ms };
  }
}

function replyOf(fault: FaultName): HttpReply {
  switch (fault) {
    case 'http_429':
      return refused(429, 'Rate limit reached for requests. Please try again in 1s.', {
        code: 'rate_limit_exceeded',
        type: 'requests',
      });
    case 'token_limit_400':
    case 'token_limit_429':
      return refused(fault === 'token_limit_400' ? 400 : 429, tokenLimitMessage(null), {
        code: 'token_limit_exceeded',
      });
    case 'http_502':
    case 'http_502_after':
      return { status: 502, headers: { 'content-type': 'text/html' }, body: badGateway };
    case 'http_503':
    case 'http_503_after':
      return refused(503, 'The engine is currently overloaded, please try again later.');
    default:
      return refused(500, 'The server had an error while processing your request. Sorry about that!');
  }
}

const badGateway =
  '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n' +
  '<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n';

function refused(status: number, message: string, details: { code?: string; type?: string } = {}): HttpReply {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (details.code === 'rate_limit_exceeded') headers['retry-after'] = '1';
  const body = JSON.stringify(new ApiError(status, message, details).toBody());
  return { status, headers, body };
}
