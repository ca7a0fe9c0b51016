# Completion of the cloaca command for bash. The command itself knows what may come next.
_cloaca() {
    local current=${COMP_WORDS[COMP_CWORD]}
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "$current"))
}
complete -o bashdefault -o default -F _cloaca cloaca
