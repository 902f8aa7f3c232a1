#!/usr/bin/env python3
"""Checks a recording against docs/TRACE.md: trace.py FILE [--cut]. Says what is wrong and exits 1, or says nothing.

--cut: the file may end anywhere; what is complete in it must be good.
"""
import json
import sys

FIELDS = {
    'trace.begin': 'version program argv cwd clock started pid', 'loop.start': 'loop', 'loop.stop': 'loop', 'tick.begin': 'tick ready timers',
    'select.enter': 'timeout fds', 'select.leave': 'ready woken', 'tick.run': 'count', 'handle.ready': 'handle what task by',
    'handle.run': 'handle what task', 'handle.end': 'handle', 'handle.cancel': 'handle what', 'timer.arm': 'timer when delay what task',
    'timer.due': 'timer when', 'timer.cancel': 'timer what', 'reader.add': 'fd what', 'writer.add': 'fd what', 'reader.remove': 'fd what',
    'signal.add': 'signal label what', 'signal.remove': 'signal label what', 'signal.came': 'signal label what',
    'writer.remove': 'fd what', 'exception.report': 'message exception', 'loop.deadlock': 'waiting',
    'exception.raise': 'task file line func exception context cause', 'exception.handle': 'task file line func exception context cause',
    'task.create': 'task label coro file line parent eager', 'task.name': 'task label',
    'task.run': 'task file line func why', 'task.wait': 'task file line func on what kind stack', 'task.wake': 'task by via',
    'task.cancel': 'task by message', 'task.done': 'task state', 'line.step': 'task file line func what', 'object.make': 'id type label state why',
    'object.change': 'id type label state why', 'object.drop': 'id', 'output': 'fd text', 'trace.end': 'status'}
KINDS = {'sleep', 'io', 'ready', 'wait'}
WHYS = {'start', 'wake', 'throw'}
STATES = {'done', 'cancelled', 'failed'}


def fail(number, text):
    sys.exit('line %d: %s' % (number, text))


class Checker:
    def __init__(self):
        self.n = 0
        self.ts = 0.0
        self.open = {}          # tid -> names of open slices
        self.tasks, self.objects, self.dropped, self.handles = set(), set(), set(), set()
        self.running = {}
        self.ticks = 0

    def event(self, number, e):
        args = e.get('args')
        name = e.get('name')
        if name not in FIELDS:
            fail(number, 'unknown event %r' % name)
        if not isinstance(args, dict) or args.get('n') != self.n + 1:
            fail(number, 'event number %r follows %d' % (args and args.get('n'), self.n))
        self.n += 1
        if (self.n == 1) != (name == 'trace.begin'):
            fail(number, 'trace.begin must be the first event, and only that')
        for field in FIELDS[name].split():
            if field not in args:
                fail(number, '%s has no %s' % (name, field))
        if not isinstance(e.get('ts'), (int, float)) or e['ts'] < self.ts:
            fail(number, 'ts %r after %r' % (e.get('ts'), self.ts))
        self.ts = e['ts']
        if not isinstance(e.get('pid'), int) or not isinstance(e.get('tid'), int):
            fail(number, 'no pid or tid')
        self.slices(number, e, name)
        getattr(self, name.replace('.', '_'), lambda *_: None)(number, args)

    def slices(self, number, e, name):
        wanted = {'handle.run': 'B', 'task.run': 'B', 'handle.end': 'E', 'task.wait': 'E', 'task.done': 'E'}.get(name, 'i')
        if e['ph'] != wanted:
            fail(number, '%s has ph %r' % (name, e['ph']))
        stack = self.open.setdefault(e['tid'], [])
        if wanted == 'B':
            stack.append(name)
        elif wanted == 'E':
            if not stack:
                fail(number, '%s ends what did not begin' % name)
            if stack.pop().split('.')[0] != name.split('.')[0]:
                fail(number, '%s ends another slice' % name)

    def known(self, number, what, identity, among):
        if identity and identity not in among:
            fail(number, '%s %r was never made' % (what, identity))

    def trace_begin(self, number, args):
        if args['version'] != 1:
            fail(number, 'version %r' % args['version'])

    def tick_begin(self, number, args):
        if args['tick'] < 1:
            fail(number, 'tick %d' % args['tick'])

    def task_create(self, number, args):
        if args['task'] in self.tasks or not args['task']:
            fail(number, 'task %r made twice' % args['task'])
        self.known(number, 'task', args['parent'], self.tasks)
        self.tasks.add(args['task'])

    def task_run(self, number, args):
        self.known(number, 'task', args['task'], self.tasks)
        if args['why'] not in WHYS:
            fail(number, 'why %r' % args['why'])

    def task_wait(self, number, args):
        self.known(number, 'task', args['task'], self.tasks)
        if args['kind'] not in KINDS or not isinstance(args['stack'], list):
            fail(number, 'kind %r' % args['kind'])
        for frame in args['stack']:
            if not {'func', 'file', 'line'} <= set(frame):
                fail(number, 'a frame is %r' % frame)

    def task_done(self, number, args):
        self.known(number, 'task', args['task'], self.tasks)
        if args['state'] not in STATES:
            fail(number, 'state %r' % args['state'])

    def task_wake(self, number, args):
        self.known(number, 'task', args['task'], self.tasks)
        self.known(number, 'task', args['by'], self.tasks)

    def task_cancel(self, number, args):
        self.known(number, 'task', args['task'], self.tasks)
        self.known(number, 'task', args['by'], self.tasks)

    task_name = task_cancel_like = lambda self, number, args: self.known(number, 'task', args['task'], self.tasks)

    def timer_arm(self, number, args):
        self.handles.add(args['timer'])

    def timer_due(self, number, args):
        self.known(number, 'timer', args['timer'], self.handles)

    timer_cancel = timer_due

    def handle_ready(self, number, args):
        self.known(number, 'task', args['task'], self.tasks)
        self.handles.add(args['handle'])

    def handle_run(self, number, args):
        self.known(number, 'handle', args['handle'], self.handles)

    def object_make(self, number, args):
        if args['id'] in self.objects or not args['id']:
            fail(number, 'object %r made twice' % args['id'])
        self.objects.add(args['id'])
        self.waiters(number, args)

    def object_change(self, number, args):
        self.known(number, 'object', args['id'], self.objects)
        if args['id'] in self.dropped:
            fail(number, 'object %r changed after it was dropped' % args['id'])
        self.waiters(number, args)

    def object_drop(self, number, args):
        self.known(number, 'object', args['id'], self.objects)
        if args['id'] in self.dropped:
            fail(number, 'object %r dropped twice' % args['id'])
        self.dropped.add(args['id'])

    def waiters(self, number, args):
        for waiter in args.get('waiters', []):
            self.known(number, 'task', waiter['task'], self.tasks)
            if not waiter.get('as'):
                fail(number, 'a waiter without a role')
        self.known(number, 'task', args.get('holder', 0), self.tasks)


def main():
    path, cut = sys.argv[1], '--cut' in sys.argv
    data = open(path, 'rb').read().decode('utf-8', 'strict' if not cut else 'replace')
    lines = data.split('\n')
    checker = Checker()
    if lines[0] != '[':
        fail(1, 'does not begin with [')
    if not cut and (lines[-1] or lines[-2] != '{}]'):
        fail(len(lines), 'does not end with {}]')
    for number, line in enumerate(lines[1:], 2):
        if number == len(lines) and cut or line in ('{}]', ''):
            continue
        if not line.endswith(','):
            fail(number, 'no comma at the end')
        e = json.loads(line[:-1])
        if e.get('cat') == 'asyncio':
            checker.event(number, e)
    if not cut:
        json.loads(data)
        for tid, stack in checker.open.items():
            if stack and tid:
                fail(len(lines), 'slices of %d are open at the end: %s' % (tid, stack))
    if checker.n < 2 and not cut:
        fail(len(lines), 'hardly an event')


main()
