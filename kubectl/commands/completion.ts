import { UsageError } from '../../run/config.ts';
import { COMMANDS, type CommandName, flagsOf } from '../command-line.ts';
import type { Context, ExitStatus } from '../context.ts';

const NAMES = Object.keys(COMMANDS) as CommandName[];
const TAKE_VOLUME = NAMES.filter((name) => COMMANDS[name].words.startsWith('VOLUME')).join('|');
const VOLUMES = '$(kubectl get aoevolumes.aoe.dev -o name --request-timeout=3s 2>/dev/null | cut -d/ -f2)';
const NODES = '$(kubectl get aoenodes.aoe.dev -o name --request-timeout=3s 2>/dev/null | cut -d/ -f2)';

/** The flags of a command, `=` behind those that take a value. */
function flagWords(command: CommandName): string {
  return Object.entries(flagsOf(command))
    .map(([flag, { type }]) => `--${flag}${type === 'string' ? '=' : ''}`)
    .join(' ');
}

const FLAGS = NAMES.map((name) => `      ${name}) choices="${flagWords(name)}" ;;`).join('\n');

/** Sets `choices` from `command`, `word` (what is being typed) and `place` (its number behind the command). Bash and zsh read it alike. */
const CHOICES = `  local choices=
  if (( place == 0 )); then
    choices="${NAMES.join(' ')}"
  elif [[ $word == -* ]]; then
    case $command in
${FLAGS}
    esac
  else
    case $command in
      ${TAKE_VOLUME}) choices="${VOLUMES}" ;;
      check) if (( place == 1 )); then choices=node; else choices="${NODES}"; fi ;;
      completion) choices="bash zsh" ;;
    esac
  fi`;

const BASH = `# bash completion of kubectl aoe: source <(kubectl aoe completion bash), behind that of kubectl
_kubectl_aoe() {
  local word=\${COMP_WORDS[COMP_CWORD]} first=1
  [[ \${COMP_WORDS[0]} == *kubectl ]] && first=2
  local command=\${COMP_WORDS[first]} place=$((COMP_CWORD - first))
${CHOICES}
  COMPREPLY=($(compgen -W "$choices" -- "$word"))
  [[ \${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
_kubectl_with_aoe() {
  if [[ \${COMP_WORDS[1]} == aoe ]] && (( COMP_CWORD >= 2 )); then _kubectl_aoe
  elif declare -F __start_kubectl >/dev/null; then __start_kubectl "$@"; fi
}
complete -F _kubectl_aoe kubectl-aoe
complete -o default -F _kubectl_with_aoe kubectl
`;

const ZSH = `# zsh completion of kubectl aoe: source <(kubectl aoe completion zsh), behind that of kubectl
_kubectl_aoe() {
  local word=\${words[CURRENT]} first=2
  [[ \${words[1]} == *kubectl ]] && first=3
  local command=\${words[first]} place=$((CURRENT - first))
${CHOICES}
  compadd -S '' -- \${(M)=choices:#*=}
  compadd -- \${=choices:#*=}
}
_kubectl_with_aoe() {
  if [[ \${words[2]} == aoe ]] && (( CURRENT >= 3 )); then _kubectl_aoe
  elif (( $+functions[_kubectl] )); then _kubectl "$@"; fi
}
compdef _kubectl_aoe kubectl-aoe
compdef _kubectl_with_aoe kubectl
`;

/** @throws UsageError for a shell that is not known */
export function completionScript(shell: string): string {
  if (shell === 'bash') return BASH;
  if (shell === 'zsh') return ZSH;
  throw new UsageError(`completion: there is none for "${shell}": write bash or zsh`);
}

export async function completion({ line, out }: Context): Promise<ExitStatus> {
  out(completionScript(line.words[0] ?? ''));
  return 0;
}
