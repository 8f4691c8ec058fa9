import type { Agent } from "~/core/types";
import { Button } from "~/ui/Button";
import { Icon } from "~/ui/icons";
import { Menu, MenuChoice } from "~/ui/Menu";

interface AgentPickerProps {
  agents: readonly Agent[];
  chosen: Agent | undefined;
  onChoose: (id: string) => void;
}

/** Whom to ask in a new chat; nothing to choose when there is only one. */
export function AgentPicker({ agents, chosen, onChoose }: AgentPickerProps) {
  if (agents.length < 2 || !chosen) return null;
  return (
    <Menu
      align="start"
      side="top"
      button={(given) => (
        <Button tone="quiet" aria-label={`Agent: ${chosen.name}. Choose another`} {...given}>
          {chosen.name}
          <Icon name="chevronDown" size={14} />
        </Button>
      )}
    >
      {agents.map(({ id, name, description }) => (
        <MenuChoice
          key={id}
          checked={id === chosen.id}
          detail={description}
          onSelect={() => onChoose(id)}
        >
          {name}
        </MenuChoice>
      ))}
    </Menu>
  );
}
